"""``hack/images``: build the container images, list them, make the base, clear the cache.

    hack/images build [NAME...] [--output DIR] [--base IMAGE] [--with docker|podman|buildah] [--prefix REGISTRY/PATH]
    hack/images list
    hack/images render
    hack/images base [--refresh]
    hack/images clean

``build`` writes DIR/NAME.tar, a docker-archive that ``hack/cluster load``, ``ctr images import``, ``docker load`` and
``podman load`` read. Everything else lies in ~/.cache/wakeful/images (WAKEFUL_IMAGES_CACHE).
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from imagebuild import archive, builders, containerfile, foundation, keys, rendering, wheels
from imagebuild.containerfile import Containerfile
from imagebuild.steps import ImageError, Steps, size_mb

ROOT = Path(__file__).resolve().parents[3]
NOT_CACHED_STATUS = 3
LOCAL_PREFIX = "dev.local/"  # Knative does not ask a registry for names that begin so
KEPT_ARCHIVES = 2


class NotCachedError(ImageError):
    """--cached was given and something would have to be built."""


def main(words: list[str]) -> int:
    """Do what ``words`` say; the exit status."""
    options = parse(words)
    cache = Path(os.environ.get("WAKEFUL_IMAGES_CACHE", "~/.cache/wakeful/images")).expanduser().resolve()
    cache.mkdir(parents=True, exist_ok=True)
    try:
        with alone(cache):
            return int(options.do(options, cache))
    except NotCachedError as error:
        print(f"hack/images: {error}", file=sys.stderr)
        return NOT_CACHED_STATUS
    except (ImageError, containerfile.ContainerfileError) as error:
        print(f"hack/images: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("hack/images: stopped; the next call goes on from what is cached", file=sys.stderr)
        return 130


def parse(words: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="hack/images", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    build = commands.add_parser("build", help="build images (all of them without a NAME)")
    build.add_argument("names", nargs="*", metavar="NAME", help="as `hack/images list` shows them")
    build.add_argument(
        "--output", type=Path, default=ROOT / "build" / "images", help="folder for NAME.tar (build/images)"
    )
    build.add_argument("--base", help="image to start from instead of our own base")
    build.add_argument(
        "--with", dest="builder", choices=["docker", "podman", "buildah"], help="program to build with"
    )
    build.add_argument("--prefix", help="REGISTRY/PATH of one more name in the archive, to push it under")
    build.add_argument("--again", action="store_true", help="build although the result is cached")
    build.add_argument(
        "--cached", action="store_true", help="build nothing: exit 3 when something is not cached"
    )
    build.set_defaults(do=do_build)
    commands.add_parser("render", help="make the Containerfiles from images.toml").set_defaults(do=do_render)
    commands.add_parser("list", help="the images, their files and what is cached").set_defaults(do=do_list)
    base = commands.add_parser("base", help="make the base")
    base.add_argument("--refresh", action="store_true", help="make it again, with Debian's updates")
    base.set_defaults(do=do_base)
    commands.add_parser("clean", help="empty the cache").set_defaults(do=do_clean)
    return parser.parse_args(words)


@dataclass(frozen=True, slots=True)
class Plan:
    """What one image is to become: its file, the names in its archive, and where the archive is cached."""

    image: Containerfile
    names: tuple[str, ...]
    arguments: dict[str, str]
    archived: Path


def do_build(options: argparse.Namespace, cache: Path) -> int:
    """Build what is not cached, then put every archive into the output folder."""
    steps, log, version = Steps(), cache / "build.log", version_of(ROOT)
    images = chosen(options.names)
    options.output.mkdir(parents=True, exist_ok=True)
    if options.cached and not (options.base or foundation.path_of(cache).exists()):
        raise NotCachedError("the base is not made yet: hack/images build, without --cached")
    base = None if options.base else own_base(cache, log, steps)
    circumstances = (
        version,
        options.base or (base.key if base else ""),
        options.prefix or "",
        options.builder or "",
    )
    builder: builders.Builder | None = None
    for image in images:
        archived = cache / f"{image.name}-{keys.key_of(image, ROOT, *circumstances)}.tar"
        if options.cached and not archived.exists():
            raise NotCachedError(
                f"{image.name} is not built from today's sources: hack/images build {image.name}"
            )
        if options.again or not archived.exists():
            builder = builder or builders.choose(options.builder, cache, log)
            arguments = {"BASE": builder.load_base(base) if base else options.base, "VERSION": version}
            build(
                Plan(image, names_of(image, version, options.prefix), arguments, archived),
                builder,
                log,
                steps,
            )
            steps.done(f"built {image.name} with {builder.name}", archived)
            forget_older(cache, image.name)
        else:
            os.utime(archived)
            steps.done(f"cached {image.name}", archived)
        hand_over(archived, options.output / f"{image.name}.tar")
    steps.done(f"{len(images)} of {len(images)} images are in {options.output}")
    return 0


def build(plan: Plan, builder: builders.Builder, log: Path, steps: Steps) -> None:
    """Build one image into the cache. Raises ImageError."""
    cache = plan.archived.parent
    everybodys = [ROOT / lock for image in containerfile.find_all(ROOT) for lock in image.locks]
    folder = wheels.fetch([ROOT / lock for lock in plan.image.locks], everybodys, cache, log, steps)
    with tempfile.TemporaryDirectory(dir=cache, prefix="context-") as context:
        keys.stage(plan.image, ROOT, Path(context))
        saved = cache / f"{plan.image.name}.saved"
        builder.build(
            builders.Job(plan.image.path, Path(context), plan.arguments, folder, plan.names[0]), saved
        )
        archive.rename(saved, plan.archived, plan.names)
        saved.unlink()


def own_base(cache: Path, log: Path, steps: Steps, *, is_refreshed: bool = False) -> foundation.Foundation:
    """The base of our own, and the program that makes it. Raises ImageError."""
    if is_refreshed or not foundation.path_of(cache).exists():
        builders.install("mmdebstrap", log)
    return foundation.ensure(cache, log, steps, is_refreshed=is_refreshed)


def do_list(_options: argparse.Namespace, cache: Path) -> int:
    """One line an image."""
    for image in containerfile.find_all(ROOT):
        cached = sorted(cache.glob(f"{image.name}-*.tar"), key=lambda path: path.stat().st_mtime)
        size = f"{size_mb(cached[-1]):6.1f} MB when last built" if cached else "never built"
        print(f"{image.name:22} {image.path!s:34} {size}")
    return 0


def do_render(_options: argparse.Namespace, _cache: Path) -> int:
    """Every Containerfile anew."""
    for path, text in rendering.render(ROOT).items():
        if not (ROOT / path).exists() or (ROOT / path).read_text() != text:
            (ROOT / path).write_text(text)
            print(f"wrote {path}")
    return 0


def do_base(options: argparse.Namespace, cache: Path) -> int:
    """The base alone."""
    steps = Steps()
    found = own_base(cache, cache / "build.log", steps, is_refreshed=options.refresh)
    steps.done(f"the base is {found.tar}", found.tar)
    return 0


def do_clean(_options: argparse.Namespace, cache: Path) -> int:
    """Everything in the cache but the lock that this call holds."""
    for path in cache.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != "lock":
            path.unlink()
    return 0


def chosen(names: list[str]) -> list[Containerfile]:
    """The images of these names, all without any. Raises ImageError."""
    images = {image.name: image for image in containerfile.find_all(ROOT)}
    unknown = [name for name in names if name not in images]
    if unknown:
        raise ImageError(f"no Containerfile makes {', '.join(unknown)}; there are {', '.join(images)}")
    return [images[name] for name in dict.fromkeys(names)] if names else list(images.values())


def names_of(image: Containerfile, version: str, prefix: str | None) -> tuple[str, ...]:
    """The names in the archive: ours, the one for a local cluster, and the user's."""
    plain = f"wakeful/{image.name}:{version}"
    own = (f"{prefix.rstrip('/')}/{image.name}:{version}",) if prefix else ()
    return (plain, LOCAL_PREFIX + plain, *own)


def version_of(root: Path) -> str:
    """The version of this tree."""
    return str(tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"])


def hand_over(archived: Path, target: Path) -> None:
    """Put a cached archive where the caller wants it: a second name of the file, or a copy on another disk."""
    partial = target.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    try:
        os.link(archived, partial)
    except OSError:
        shutil.copyfile(archived, partial)
    partial.replace(target)
    partial.unlink(missing_ok=True)  # two names of one file: the kernel renames nothing then


def forget_older(cache: Path, name: str) -> None:
    """Keep the archives of an image that were used last."""
    found = sorted(
        cache.glob(f"{name}-{'[0-9a-f]' * keys.KEY_LENGTH}.tar"), key=lambda path: path.stat().st_mtime
    )
    for path in found[:-KEPT_ARCHIVES]:
        path.unlink()


@contextlib.contextmanager
def alone(cache: Path) -> Iterator[None]:
    """Hold the cache for this call; another one waits."""
    with (cache / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("hack/images: another call is building; waiting for it", file=sys.stderr, flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
