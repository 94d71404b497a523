"""Makes every image's Containerfile from one template and a table, so that what they share is written once.

Called by __main__.py (``hack/images render``) and by a test that compares. The files stay in the tree: any engine builds
them as they are. Left out: programs without a table in images.toml, which have no image.

Invariant: equal template and table give equal files.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from imagebuild import containerfile, wheels

FOLDER = Path("hack/images.d")
PREPARE = " && python3.11 /build/{} /build/venv/lib/python3.11/site-packages /build/app \\\n"
# Only where a package of the lock comes as source: a wheel is made of it, as it holds what the source says (its licence).
TOOLS = {
    "COPY_TOOLS": f"COPY {containerfile.TOOLS} /build/build-tools.txt\n",
    "INSTALL_TOOLS": (
        " && /build/venv/bin/pip install ${PIP_OPTIONS} --disable-pip-version-check --no-cache-dir --no-deps --require-hashes \\\n"
        "      -r /build/build-tools.txt \\\n"
    ),
    "WITH_TOOLS": " --use-pep517 --no-build-isolation",
}


def render(root: Path) -> dict[Path, str]:
    """Path (relative to ``root``) and text of every Containerfile."""
    template = (root / FOLDER / "Containerfile.in").read_text()
    tables = tomllib.loads((root / FOLDER / "images.toml").read_text())
    rendered = {}
    for name, table in tables.items():
        program = table.get("program", name)
        lock = (root / "requirements/images" / f"{name}.txt").read_text()
        is_from_source = any(pin.is_source for pin in wheels.pins(lock))
        words = {
            "NAME": name,
            "PROGRAM": program,
            "MODULE": program.replace("/", "."),
            "TITLE": table["title"],
            "ABOUT": table["about"],
            "LICENSES": table.get("licenses", "Apache-2.0"),
            "COPIES": "\n".join(copies(program, table["takes"], root)),
            "SCRIPTS": " ".join(
                str(FOLDER / script) for script in ("rootfs.py", *table.get("prepared_by", []))
            ),
            "LIBRARIES": "".join(f" {library}" for library in table.get("libraries", [])),
            "PREPARE": "".join(PREPARE.format(script) for script in table.get("prepared_by", [])),
            **{word: text if is_from_source else "" for word, text in TOOLS.items()},
        }
        text = template
        for word, value in words.items():
            text = text.replace(f"@{word}@", value)
        rendered[Path(program) / "Containerfile"] = text
    return rendered


def copies(program: str, takes: list[str], root: Path) -> list[str]:
    """The COPY lines: the marks of packages first, single files of a folder together."""
    packages = {taken.split("/")[0] for taken in [*takes, program] if "/" in taken} - {"wakeful"}
    files: dict[str, list[str]] = {f"{name}/": [f"{name}/__init__.py"] for name in sorted(packages)}
    lines = []
    for taken in [*takes, program]:
        if (root / taken).is_dir():
            lines.append(f"COPY {taken} /build/app/{taken}")
        else:
            files.setdefault(taken.rpartition("/")[0] + "/", []).append(taken)
    return [f"COPY {' '.join(names)} /build/app/{folder}" for folder, names in files.items()] + lines
