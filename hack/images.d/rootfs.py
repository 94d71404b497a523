"""Puts together what an image holds: called by every Containerfile inside its build stage, never on your machine.

``python DEST``          the interpreter, the standard library and the shared libraries that they load
``site DEST SITE [LIBRARY...]``   the installed packages, without tests, headers and sources of extensions; and libraries
                         of the base that only this image needs
``app DEST SOURCE``      our own packages

The final stage starts from nothing and copies the three trees: no shell, no package manager, nothing of the base but
what Python needs. Each tree is compiled here, since the root file system is read-only where it runs; the compiled files
carry no time stamps, so equal input gives equal bytes. Standard library only: it runs in a bare base.

Left out: other interpreters than CPython 3.11, other systems than Linux with glibc.
Invariant: a shared library that something needs and the image lacks fails the build, with its name.
"""

from __future__ import annotations

import os
import py_compile
import re
import shutil
import site
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

USER_ID = 65532
STDLIB_WITHOUT = {
    *("test", "idlelib", "tkinter", "turtledemo", "lib2to3", "ensurepip", "pydoc_data", "distutils"),
    *("site-packages", "dist-packages", "__pycache__", "sitecustomize.py", "turtle.py", "EXTERNALLY-MANAGED"),
}
# Compiled modules for terminals and old databases: they would bring six libraries with them.
MODULES_WITHOUT = ("_test", "_tkinter", "_dbm", "_gdbm", "_curses", "nis.", "readline.", "ossaudiodev.")
SITE_WITHOUT = {
    "tests",
    "test",
    "SelfTest",
    "__pycache__",
    "bin",
    "pip",
    "setuptools",
    "_distutils_hack",
    "pkg_resources",
}
SITE_SUFFIXES_WITHOUT = {
    ".pyi",
    ".pyx",
    ".pxd",
    ".pxi",
    ".c",
    ".h",
    ".hpp",
    ".a",
    ".tp",
    ".pth",
    ".virtualenv",
}
# Generated client classes: 74 MB of source for the few that are ever loaded. Compiled, without their documentation,
# they are all still there.
COMPILED_ONLY = ("kubernetes",)
# What a manylinux wheel may take for granted, beside what the interpreter loads itself.
WHEELS_MAY_EXPECT = {
    *(
        "libstdc++.so.6",
        "libgcc_s.so.1",
        "libgomp.so.1",  # LightGBM
        "libm.so.6",
        "libdl.so.2",
        "libpthread.so.0",
        "librt.so.1",
        "libutil.so.1",
    ),
    "libresolv.so.2",
}
ROOT_FOLDERS = {
    "usr/bin": 0o755,
    "etc/ssl/certs": 0o755,
    "tmp": 0o1777,
    "mnt": 0o755,
    "var/lib/dpkg/status.d": 0o755,
}
USR_MERGE = ("bin", "lib", "lib64", "sbin")
TEXTS = {
    "etc/passwd": f"root:x:0:0:root:/root:/sbin/nologin\nwakeful:x:{USER_ID}:{USER_ID}:wakeful:/tmp:/sbin/nologin\n",
    "etc/group": f"root:x:0:\nwakeful:x:{USER_ID}:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}

# The kernel drops a signal to a container's first process that has no handler for it. A pod deleted while its program
# still imports would stay for its whole grace, five minutes under Knative. A program's own handler replaces this one.
FIRST_MOMENT = """\
import _signal
import os

if os.getpid() == 1:
    _signal.signal(_signal.SIGTERM, lambda *_: os._exit(143))
"""


def main(words: list[str]) -> None:
    os.umask(0o022)
    match words:
        case ["python", dest]:
            make_python(Path(dest))
        case ["site", dest, source, *libraries]:
            make_site(Path(dest), Path(source), set(libraries))
        case ["app", dest, source]:
            make_app(Path(dest), Path(source))
        case _:
            sys.exit(
                f"usage: rootfs.py python DEST | site DEST SITE [LIBRARY...] | app DEST SOURCE; got {words}"
            )


def make_python(dest: Path) -> None:
    """Interpreter, standard library, shared libraries, certificates, users and licences under ``dest``."""
    interpreter = Path(os.path.realpath(sys.executable))
    stdlib = Path(sysconfig.get_path("stdlib"))
    make_root(dest)
    copied = [copy_file(interpreter, dest)]
    for path in walk(stdlib, STDLIB_WITHOUT):
        if f"config-{sys.version_info.major}." not in str(path) and not path.name.startswith(MODULES_WITHOUT):
            copied.append(copy_file(path, dest))
    (dest / stdlib.relative_to("/") / "sitecustomize.py").write_text(FIRST_MOMENT)
    loaders = [interpreter, *(path for path in copied if path.suffix == ".so")]
    libraries = {*needed(loaders), *runtime_libraries(WHEELS_MAY_EXPECT)}
    for path in sorted(libraries):
        copied.append(copy_library(path, dest))
    for name in ("python", "python3", "python3.11"):
        link = dest / "usr/bin" / name
        if not link.exists():
            link.symlink_to(interpreter)
    bundle = Path("/etc/ssl/certs/ca-certificates.crt")
    shutil.copyfile(bundle, dest / bundle.relative_to("/"))
    shutil.copyfile(os.path.realpath("/etc/os-release"), dest / "etc/os-release")
    subprocess.run(["/sbin/ldconfig", "-r", str(dest)], check=True)
    shutil.rmtree(dest / "var/cache", ignore_errors=True)
    record_packages(copied, dest, ("ca-certificates", "base-files"))
    compile_tree(dest, stdlib)
    settle_modes(dest)


def make_root(dest: Path) -> None:
    """The folders and the three text files that programs look for."""
    for name, mode in ROOT_FOLDERS.items():
        (dest / name).mkdir(parents=True, exist_ok=True)
        (dest / name).chmod(mode)
    for name in USR_MERGE:
        (dest / "usr" / name).mkdir(exist_ok=True)
        (dest / name).symlink_to(f"usr/{name}")
    for name, text in TEXTS.items():
        (dest / name).write_text(text)


def make_site(dest: Path, source: Path, libraries: set[str]) -> None:
    """The installed packages of ``source`` where the image's interpreter looks for them, and ``libraries`` of the base."""
    own = sorted(runtime_libraries(libraries)) if libraries else []
    record_packages([copy_library(path, dest) for path in own], dest)
    target = dest / purelib().relative_to("/")
    for path in walk(source, SITE_WITHOUT):
        inside = path.relative_to(source)
        if path.suffix in SITE_SUFFIXES_WITHOUT or inside.parts[0].startswith(("pip-", "setuptools-")):
            continue
        (target / inside).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target / inside)
    compile_tree(dest, purelib())
    strip_debug(target)
    settle_modes(dest)
    objects = sorted(source.rglob("*.so*"))
    beside = frozenset(path.name for path in objects)
    missing = {path for path in needed(objects, beside) if not is_there(path, source) and path not in own}
    if missing:
        sys.exit(f"rootfs.py: the image lacks {sorted(map(str, missing))}: add them to make_python")


def strip_debug(target: Path) -> None:
    """Take the debug sections out of compiled modules, where the base has ``strip``.

    Not of a package whose libraries were moved beside it (NAME.libs): their headers were rewritten, which strip
    does not always survive.
    """
    if shutil.which("strip") is None:
        return
    rewritten: set[str] = set()
    for record in target.glob("*.dist-info/RECORD"):
        tops = {line.split("/")[0] for line in record.read_text().splitlines()}
        rewritten |= tops if any(top.endswith(".libs") for top in tops) else set()
    for path in sorted(target.rglob("*.so")):
        if path.relative_to(target).parts[0] not in rewritten:
            subprocess.run(["strip", "--strip-debug", str(path)], check=True)


def make_app(dest: Path, source: Path) -> None:
    """Our packages beside the others."""
    target = dest / purelib().relative_to("/")
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    compile_tree(dest, purelib())
    settle_modes(dest)


def settle_modes(dest: Path) -> None:
    """Readable by everyone, writable by root only, nothing setuid: whatever the umask of the checkout was."""
    for path in sorted(dest.rglob("*")):
        if path.is_symlink() or path == dest / "tmp":
            continue
        is_program = path.is_dir() or path.stat().st_mode & 0o100
        path.chmod(0o755 if is_program else 0o644)


def purelib() -> Path:
    """Where the image's interpreter looks for packages, whichever base it comes from."""
    return Path(site.getsitepackages()[0])


def walk(root: Path, without: set[str]) -> Iterator[Path]:
    """Every file below ``root``, sorted; no name of ``without`` on the way."""
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in without)
        for name in sorted(files):
            if name not in without:
                yield Path(folder, name)


def copy_file(path: Path, dest: Path) -> Path:
    """``path`` under ``dest`` at the same place; links are followed."""
    target = dest / path.relative_to("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, target)
    return path


def copy_library(path: Path, dest: Path) -> Path:
    """A library under the name it is asked for by, below /usr: /lib and /lib64 are links."""
    merged = path if path.is_relative_to("/usr") else Path("/usr", path.relative_to("/"))
    target = dest / merged.relative_to("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, target)
    return path


def needed(paths: Iterable[Path], beside: frozenset[str] = frozenset()) -> set[Path]:
    """The shared libraries that ``paths`` load, as the loader of the base finds them.

    ``beside``: names that a wheel brings itself. Asked alone, such a library does not know its neighbours; the loader
    has them by name already when it gets there.
    """
    listed = subprocess.run(["ldd", *map(str, paths)], capture_output=True, text=True, check=False).stdout
    absent = {*re.findall(r"^\s*(\S+) => not found", listed, re.MULTILINE)} - beside
    if absent:
        sys.exit(f"rootfs.py: not in the base: {sorted(absent)}")
    return {Path(found) for found in re.findall(r"(?:=> |^\s*)(/\S+) \(0x", listed, re.MULTILINE)}


def runtime_libraries(names: set[str]) -> set[Path]:
    """Libraries of the base by name."""
    listed = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    found = {
        Path(path)
        for name, path in re.findall(r"^\s*(\S+) .*=> (\S+)$", listed, re.MULTILINE)
        if name in names
    }
    if len({path.name for path in found}) < len(names):
        sys.exit(
            f"rootfs.py: the base lacks one of {sorted(names)}: install libstdc++6, libgcc-s1 and libgomp1 in it"
        )
    return found


def is_there(path: Path, source: Path) -> bool:
    """Whether the image has the library: beside its package or in the tree that make_python wrote."""
    if path.is_relative_to(source):
        return True
    python = Path("/rootfs/python")
    return (python / path.relative_to("/")).exists() or (python / "usr" / path.relative_to("/")).exists()


def compile_tree(dest: Path, place: Path) -> None:
    """Compile every module below ``dest``/``place`` for reading from ``place``, without time stamps in the result."""
    for path in sorted((dest / place.relative_to("/")).rglob("*.py")):
        shown = str(Path("/", path.relative_to(dest)))
        is_alone = path.relative_to(dest / place.relative_to("/")).parts[0] in COMPILED_ONLY
        try:
            py_compile.compile(
                str(path),
                cfile=str(path.with_suffix(".pyc")) if is_alone else None,
                dfile=shown,
                doraise=True,
                optimize=2 if is_alone else -1,
                invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
            )
        except py_compile.PyCompileError as error:
            print(f"not compiled: {shown}: {error.msg.strip().splitlines()[-1]}")
            continue
        if is_alone:
            path.unlink()


def record_packages(copied: list[Path], dest: Path, beside: tuple[str, ...] = ()) -> None:
    """Licence and package record of each Debian package that a copied file belongs to, where scanners look."""
    if shutil.which("dpkg-query") is None:
        return
    owners = set()
    plain = {str(path).removeprefix("/usr") for path in copied}
    names = sorted({*plain, *("/usr" + name for name in plain)})  # packages know files by either name
    for start in range(0, len(names), 500):
        found = subprocess.run(
            ["dpkg-query", "-S", *names[start : start + 500]], capture_output=True, text=True, check=False
        ).stdout
        owners |= {line.split(":", 1)[0] for line in found.splitlines() if not line.startswith("diversion")}
    for owner in sorted({*owners, *beside}):
        stanza = subprocess.run(
            ["dpkg-query", "-s", owner], capture_output=True, text=True, check=True
        ).stdout
        records = dest / "var/lib/dpkg/status.d"
        records.mkdir(parents=True, exist_ok=True)
        (records / owner).write_text(stanza)
        licence = Path("/usr/share/doc", owner, "copyright")
        if licence.exists():
            copy_file(licence, dest)


if __name__ == "__main__":
    main(sys.argv[1:])
