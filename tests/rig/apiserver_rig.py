"""The embedded API server as a process, for tests of what stands on it: start, connect, a namespace, the kinds.

The fixture that holds it for a session is made by the folder's conftest: ``with running(folder): ...``. Invariant: the
process ends with the ``with`` block.
"""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import yaml
from waiting_rig import until

from wakeful.kit.kube import (
    CONFIGMAPS,
    CRDS,
    NAMESPACES,
    ApiError,
    Credentials,
    KubeClient,
    Obj,
    Resource,
    read_kubeconfig,
)

ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = ROOT / "standalone" / "knative" / "manifests"
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
RESOURCES = {"Namespace": NAMESPACES, "CustomResourceDefinition": CRDS, "ConfigMap": CONFIGMAPS}
START_S = 15.0


@contextmanager
def running(folder: Path) -> Iterator[Path]:
    """An API server on ``folder`` as data directory and on a free port."""
    argv = [sys.executable, "-m", "standalone.apiserver", "--data-dir", str(folder), "--port", "0"]
    with (folder / "apiserver.log").open("w") as log:
        process = subprocess.Popen(argv, cwd=ROOT, stdout=log, stderr=log)
    try:
        yield folder
    finally:
        process.terminate()
        process.wait(10)


async def connect(folder: Path) -> Credentials:
    """Its credentials, once it answers."""
    log = folder / "apiserver.log"
    found: Credentials = await until(lambda: _answering(folder), START_S, log.read_text, 0.05)
    return found


async def _answering(folder: Path) -> Credentials | None:
    try:
        credentials = read_kubeconfig(folder / "kubeconfig")
        async with KubeClient(credentials, "test") as client:
            await client.list(NAMESPACES)
    except (ValueError, OSError):
        return None
    return credentials


async def install(client: KubeClient, files: Iterable[Path], kinds: Iterable[str] = tuple(RESOURCES)) -> None:
    """Apply the documents of ``files`` that are of these kinds and not there yet."""
    for path in files:
        for doc in yaml.load_all(path.read_text(), Loader=LOADER):
            resource, metadata = RESOURCES.get(doc["kind"]), doc["metadata"]
            if resource is None or doc["kind"] not in kinds:
                continue
            if await client.find(resource, metadata.get("namespace"), metadata["name"]) is None:
                await client.apply(resource, metadata.get("namespace"), doc)


async def until_object(
    client: KubeClient,
    resource: Resource,
    place: tuple[str, str],
    is_good: Callable[[Obj], bool],
    limit_s: float = 8.0,
) -> Obj:
    """The object at ``place`` (namespace, name) once ``is_good`` holds; its last status is shown when it does not."""
    seen: Obj = {}

    async def good() -> Obj | None:
        found = await client.find(resource, *place)
        seen.clear()
        seen.update(found or {})
        return found if found is not None and is_good(found) else None

    words = f"{resource.plural}/{place[1]}"
    found: Obj = await until(good, limit_s, lambda: f"{words}, whose status is {seen.get('status')}", 0.02)
    return found


def namespace_of(name: str) -> Obj:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


@asynccontextmanager
async def own_namespace(client: KubeClient) -> AsyncIterator[str]:
    """A namespace of one test's own, deleted after it."""
    name = f"t{uuid.uuid4().hex[:8]}"
    await client.create(NAMESPACES, None, namespace_of(name))
    try:
        yield name
    finally:
        try:
            await client.delete(NAMESPACES, None, name)
        except ApiError as error:
            assert error.code in (404, 409)
