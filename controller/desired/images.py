"""Which image a runtime's container runs: ``runtimeVersion``, GPU and CPU variants.

Called by ``desired.predictor``. Source: KServe behaviour page section 2.3.4; the variants go by bare server types
only, as a running KServe does (section 6, item 14). Invariant: a reference by digest is never touched.
"""

from __future__ import annotations

GPU_TAGGED = ("tensorflow-serving", "torchserve", "huggingfaceserver")
CPU_NAMED = "vllmserver"
OWN = "wakeful/"


def choose(image: str, server_type: str, runtime_version: str, wants_gpu: bool) -> str:
    """The image to run. ``runtime_version`` "" keeps the runtime's tag."""
    if "@" in image or not image:
        return image
    repository, tag = split(image)
    if runtime_version:
        return f"{repository}:{runtime_version}"
    if wants_gpu and server_type in GPU_TAGGED and tag and not tag.endswith("-gpu"):
        return f"{repository}:{tag}-gpu"
    if not wants_gpu and server_type == CPU_NAMED and tag and not repository.endswith("-cpu"):
        return f"{repository}-cpu:{tag}"
    return image


def split(image: str) -> tuple[str, str]:
    """Repository and tag ("" when there is none). A colon before the last slash belongs to a registry port."""
    repository, colon, tag = image.rpartition(":")
    if not colon or "/" in tag:
        return image, ""
    return repository, tag


def prefixed(image: str, prefix: str) -> str:
    """An image that comes with Wakeful, from the registry its operator keeps it in; any other as it is."""
    return prefix + image if image.startswith(OWN) else image


def is_own(image: str, name: str) -> bool:
    """Whether ``image`` is Wakeful's ``name``, in whatever registry."""
    repository, _ = split(image)
    return repository == OWN + name or repository.endswith(f"/{OWN}{name}")


def is_wakefuls(image: str) -> bool:
    """Whether ``image`` is one of Wakeful's own, in whatever registry."""
    return image.startswith(OWN) or f"/{OWN}" in image
