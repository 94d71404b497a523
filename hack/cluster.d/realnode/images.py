"""Which images the node itself needs: Knative's commands, Envoy, the pause of a pod, and hello for smoke tests.

Called by `up` and `build`, after build.py. All are named `dev.local/...`, a name that Knative does not ask a registry
about. Envoy's image holds the C libraries of this machine, the Go programs none.
"""

from __future__ import annotations

from pathlib import Path

from realnode import archive, build
from realnode.archive import Image, Layer
from realnode.node import ClusterError
from realnode.progress import Progress

TAG = "node"
ENVOY_IMAGE = f"dev.local/envoy:{TAG}"
PAUSE_IMAGE = f"dev.local/pause:{TAG}"
HELLO_IMAGE = f"dev.local/hello:{TAG}"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
LIBRARIES = ("libm", "librt", "libdl", "libpthread", "libc", "libresolv", "libnss_dns", "libnss_files")
VERSIONED = {"libm": 6, "libc": 6}
LOADER = "/lib64/ld-linux-x86-64.so.2"


def ground_layer() -> Layer:
    """What every image has: two users, a writable /tmp, and this machine's certificate authorities where it has them."""
    return Layer(
        files={str(CERTIFICATES): CERTIFICATES} if CERTIFICATES.exists() else {},
        texts={
            "/etc/passwd": "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n",
            "/etc/group": "root:x:0:\nnonroot:x:65532:\n",
            "/etc/nsswitch.conf": "hosts: files dns\n",
        },
        folders={"/tmp": 0o1777, "/var/run/ko": 0o755},
    )


def go_image(name: str, program: Path) -> Image:
    entrypoint = f"/ko-app/{program.name}"
    return Image(name, (ground_layer(), Layer(files={entrypoint: program})), entrypoint)


def knative_images(programs: Path, project: str) -> list[Image]:
    """One image for each command of a Knative project; build.py puts them into a folder called like it."""
    prefix = f"knative.dev/{project}/"
    packages = [package for package in build.tools() if package.startswith(prefix)]
    folder = programs / project
    return [go_image(name_of(package), folder / package.rpartition("/")[2]) for package in packages]


def name_of(package: str) -> str:
    """The image that stands for `ko://package` in Knative's manifests."""
    return f"dev.local/{package}:{TAG}"


def libraries() -> dict[str, Path]:
    """Paths of the C libraries that Envoy loads, on this machine; it was linked against glibc 2.31."""
    files = {LOADER: Path(LOADER)}
    for name in LIBRARIES:
        library = f"{name}.so.{VERSIONED.get(name, {'librt': 1, 'libpthread': 0}.get(name, 2))}"
        found = [
            folder / library for folder in (Path("/lib/x86_64-linux-gnu"), Path("/lib64"), Path("/usr/lib"))
        ]
        path = next((path for path in found if path.exists()), None)
        if path is None:
            raise ClusterError(f"Envoy needs {library} of glibc, which this machine has in none of {found}")
        files[f"/lib/x86_64-linux-gnu/{library}"] = path
    return files


def folder_for(cache: Path, programs: Path, envoy: Path) -> Path:
    key = build.key_of(
        [Path(archive.__file__), Path(__file__), *(path.resolve() for path in libraries().values())],
        programs.name, envoy.parent.name,
    )  # fmt: skip
    return cache / f"images-{key}"


def write_images(cache: Path, programs: Path, envoy: Path, progress: Progress) -> Path:
    """The folder with the archives (*.tar) to import into a node; written when the cache has none for these programs."""
    folder = folder_for(cache, programs, envoy)
    if folder.is_dir():
        return folder
    partial = build.fresh(folder)
    with progress.step("wrote the images"):
        ground = [
            go_image(PAUSE_IMAGE, programs / "node" / "pause"),
            go_image(HELLO_IMAGE, programs / "node" / "hello"),
        ]
        archive.write(partial / "1-ground.tar", ground)
        layers = (ground_layer(), Layer(files={"/usr/local/bin/envoy": envoy}), Layer(files=libraries()))
        archive.write(partial / "2-envoy.tar", [Image(ENVOY_IMAGE, layers, "/usr/local/bin/envoy")])
        for position, project in enumerate(("net-kourier", "serving", "eventing"), start=3):
            archive.write(partial / f"{position}-{project}.tar", knative_images(programs, project))
        partial.rename(folder)
    return folder
