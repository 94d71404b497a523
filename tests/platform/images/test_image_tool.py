"""The parts of hack/images: what a Containerfile says, what a key covers, what goes into a build, what is written."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from imagebuild import archive, containerfile, keys, wheels
from imagebuild.containerfile import Containerfile, ContainerfileError
from imagebuild.steps import ImageError, run

ROOT = Path(__file__).resolve().parents[3]
TEXT = """ARG BASE
FROM ${BASE} AS build
# COPY nothing
COPY requirements/a.txt /build/
COPY app/one \\
     app/two.py /build/app/
FROM scratch
COPY --from=build /x /
LABEL org.opencontainers.image.title="wakeful/a"
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository with one image."""
    for name in (
        "requirements/a.txt",
        "app/one/x.py",
        "app/one/__pycache__/x.pyc",
        "app/two.py",
        "app/three.py",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "app/__init__.py").touch()
    (tmp_path / "app/Containerfile").write_text(TEXT)
    return tmp_path


NAMES = [
    "controller",
    "eventing",
    "explainer",
    "huggingface",
    "lightgbm",
    "onnx",
    "pmml",
    "sklearn",
    "storage-initializer",
]
NAMES += ["torch", "vllm", "xgboost"]


def only(tree: Path) -> Containerfile:
    (image,) = containerfile.find_all(tree)
    return image


def test_reads_name_sources_and_lock(tree: Path) -> None:
    image = only(tree)
    assert image == Containerfile(
        "a", Path("app/Containerfile"), ("requirements/a.txt", "app/one", "app/two.py"), "requirements/a.txt"
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("ADD app /x", "use COPY"),
        ("COPY app/*.py /x", "not followed"),
        ("COPY --chmod=600 app /x", "not followed"),
        ("COPY requirements/b.txt /x", "2 files of requirements"),
    ],
    ids=["add", "wildcard", "option", "two-locks"],
)
def test_refuses_what_the_cache_cannot_follow(line: str, said: str) -> None:
    with pytest.raises(ContainerfileError, match=said):
        containerfile.parse(f"{TEXT}\n{line}\n", Path("app/Containerfile"))


def test_refuses_a_file_without_a_name() -> None:
    with pytest.raises(ContainerfileError, match="title"):
        containerfile.parse(TEXT.replace("wakeful/a", "other"), Path("app/Containerfile"))


def test_what_builds_a_package_that_comes_as_source_has_a_lock_of_its_own(tree: Path) -> None:
    tools = "requirements/images/build-tools.txt"
    image = containerfile.parse(f"{TEXT}\nCOPY {tools} /build/\n", Path("app/Containerfile"))
    assert image.locks == ["requirements/a.txt", tools]
    assert only(tree).locks == ["requirements/a.txt"]


def test_key_follows_what_is_copied_and_nothing_else(tree: Path) -> None:
    image = only(tree)
    first = keys.key_of(image, tree, "1.0")
    os.utime(tree / "app/two.py", (1, 1))
    (tree / "app/three.py").write_text("not copied")
    (tree / "app/one/__pycache__/x.pyc").write_text("not copied")
    assert keys.key_of(image, tree, "1.0") == first
    assert keys.key_of(image, tree, "1.1") != first
    (tree / "app/two.py").chmod(0o755)
    second = keys.key_of(image, tree, "1.0")
    (tree / "app/one/x.py").write_text("changed")
    assert len({first, second, keys.key_of(image, tree, "1.0")}) == 3


def test_key_needs_every_source(tree: Path) -> None:
    (tree / "app/two.py").unlink()
    with pytest.raises(ContainerfileError, match=r"copies app/two\.py, which does not exist"):
        keys.key_of(only(tree), tree)


def test_only_what_is_copied_is_staged(tree: Path, tmp_path: Path) -> None:
    (tree / "app/two.py").chmod(0o600)
    keys.stage(only(tree), tree, tmp_path / "context")
    staged = {str(path.relative_to(tmp_path / "context")) for path in (tmp_path / "context").rglob("*.*")}
    assert staged == {"requirements/a.txt", "app/one/x.py", "app/two.py"}
    assert (tmp_path / "context/app/two.py").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "context/app/Containerfile").exists()


def test_pins_of_a_lock_know_their_wheels() -> None:
    lock = "a-b.C==1.2 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n    # via x\nd==3 \\\n    --hash=sha256:cc\n"
    assert [pin.pattern for pin in wheels.pins(lock)] == ["a_b_c-1.2-*.whl", "d-3-*.whl"]
    assert wheels.pins("lime==1 \\\n    --hash=sha256:aa\n")[0].pattern == "lime-1.tar.gz"  # has no wheel
    assert wheels.pins(lock)[0].text == "a-b.C==1.2 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n"


def saved_archive(path: Path, *, layer: bytes = b"layer", mtime: int = 5) -> Path:
    """A docker-archive as builders save it: names of their own, dates, a second form of the layer by a link."""
    config = json.dumps({"config": {"User": "1"}}).encode()
    entry = {"Config": "c.json", "RepoTags": ["localhost/x:1"], "Layers": ["l/layer.tar"]}
    with tarfile.open(path, "w") as out:
        for name, data in (
            ("l.tar", layer),
            ("c.json", config),
            ("manifest.json", json.dumps([entry]).encode()),
        ):
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), mtime
            out.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("l/layer.tar")
        link.type, link.linkname = tarfile.SYMTYPE, "../l.tar"
        out.addfile(link)
    return path


def test_archive_gets_our_names_and_loses_dates(tmp_path: Path) -> None:
    digests = set()
    for mtime in (5, 6):
        archive.rename(
            saved_archive(tmp_path / "s", mtime=mtime),
            tmp_path / "t",
            ["wakeful/x:1", "dev.local/wakeful/x:1"],
        )
        digests.add(hashlib.sha256((tmp_path / "t").read_bytes()).hexdigest())
    assert len(digests) == 1
    with tarfile.open(tmp_path / "t") as found:
        (entry,) = json.loads(archive.read(found, "manifest.json", tmp_path))
        assert entry["RepoTags"] == ["wakeful/x:1", "dev.local/wakeful/x:1"]
        assert archive.read(found, entry["Layers"][0], tmp_path) == b"layer"
    assert archive.describe(tmp_path / "t") == {"config": {"User": "1"}}


def test_something_else_is_no_archive(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "s", "w"):
        pass
    with pytest.raises(ImageError, match=r"no docker-archive: it has no manifest\.json"):
        archive.rename(tmp_path / "s", tmp_path / "t", ["x"])
    assert not (tmp_path / "t").exists()


def test_failed_program_shows_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"exit 3.*\n  no luck"):
        run(["sh", "-c", "echo no luck; exit 3"], tmp_path / "log")
    with pytest.raises(ImageError, match="absent-program cannot be run"):
        run(["absent-program"], tmp_path / "log")


def tool(*words: str, cache: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "WAKEFUL_IMAGES_CACHE": str(cache)}
    return subprocess.run(
        [str(ROOT / "hack/images"), *words],
        capture_output=True,
        text=True,
        env=environment,
        timeout=50,
        check=False,
    )


def test_command_names_what_there_is(tmp_path: Path) -> None:
    done = tool("build", "nothing", cache=tmp_path)
    assert done.returncode == 1
    assert done.stderr == f"hack/images: no Containerfile makes nothing; there are {', '.join(NAMES)}\n"


def test_command_builds_nothing_when_told_so(tmp_path: Path) -> None:
    done = tool("build", "--cached", "--output", str(tmp_path / "out"), cache=tmp_path)
    assert (done.returncode, list((tmp_path / "out").iterdir())) == (3, [])
    assert "the base is not made yet" in done.stderr


def test_command_lists_images(tmp_path: Path) -> None:
    lines = tool("list", cache=tmp_path).stdout.splitlines()
    assert [line.split()[0] for line in lines] == NAMES
    assert all("never built" in line for line in lines)


def test_clean_leaves_nothing_but_the_lock(tmp_path: Path) -> None:
    (tmp_path / "storage/root").mkdir(parents=True)
    (tmp_path / "base-0.tar").touch()
    assert tool("clean", cache=tmp_path).returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]
