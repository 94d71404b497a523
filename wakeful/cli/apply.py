"""``wakeful apply -f``: server-side apply of manifests, for machines without kubectl.

Takes files, folders (their ``*.yaml``, ``*.yml`` and ``*.json``) and ``-``. Applies in the order given and says for
each object what happened, in kubectl's words. A document that is refused does not stop the others, so that every
mistake is seen in one go; exit status 1 then.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import yaml

from standalone.layout import Layout
from wakeful.kit.discovery import Discovery, UnknownKindError
from wakeful.kit.kube import ApiError, KubeClient, Obj, Resource, read_kubeconfig

SUFFIXES = (".yaml", ".yml", ".json")


class ManifestError(Exception):
    """A manifest cannot be read; the text names the file and what is wrong."""


def run(options: argparse.Namespace) -> int:
    """0 when every document was applied, else 1."""
    layout = Layout(options.data_dir)
    try:
        documents = [pair for name in options.filename for pair in read_documents(name)]
        credentials = read_kubeconfig(layout.kubeconfig)
    except (ManifestError, ValueError) as error:
        print(f"wakeful apply: {error}", file=sys.stderr)
        return 1
    if not documents:
        print("wakeful apply: no objects in what was given", file=sys.stderr)
        return 1
    return asyncio.run(_apply_all(KubeClient(credentials, "wakeful-apply"), credentials.namespace, documents))


def read_documents(name: str) -> Iterator[tuple[str, Obj]]:
    """(where it came from, document) of a file, a folder or ``-``. Raises ``ManifestError``."""
    path = Path(name)
    if name != "-" and path.is_dir():
        for child in sorted(path.iterdir()):
            if child.suffix in SUFFIXES:
                yield from read_documents(str(child))
        return
    try:
        text = sys.stdin.read() if name == "-" else path.read_text()
        loaded = list(yaml.safe_load_all(text))
    except OSError as error:
        raise ManifestError(f"cannot read {name}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ManifestError(f"{name} is not YAML: {error}") from error
    for index, document in enumerate(loaded):
        if document is None:
            continue
        where = f"{name}[{index}]"
        if not isinstance(document, dict) or not all(
            document.get(key) for key in ("apiVersion", "kind", "metadata")
        ):
            raise ManifestError(f"{where} is not a Kubernetes object: it needs apiVersion, kind and metadata")
        if document["kind"] == "List":
            yield from ((where, item) for item in document.get("items") or [])
        else:
            yield where, document


async def _apply_all(client: KubeClient, namespace: str, documents: list[tuple[str, Obj]]) -> int:
    failed = 0
    async with client:
        discovery = Discovery(client)
        for where, document in documents:
            try:
                resource = await discovery.resource_of(document)
                print(await _apply(client, resource, namespace, document))
            except (ApiError, UnknownKindError) as error:
                failed += 1
                print(f"wakeful apply: {where}: {error}", file=sys.stderr)
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                print(
                    f"wakeful apply: the API server does not answer ({error}): is `wakeful up` running?",
                    file=sys.stderr,
                )
                return 1
    return 1 if failed else 0


async def _apply(client: KubeClient, resource: Resource, namespace: str, document: Obj) -> str:
    metadata = document["metadata"]
    space = metadata.get("namespace", namespace) if resource.namespaced else None
    before = await client.find(resource, space, metadata["name"])
    after = await client.apply(resource, space, document)
    label = f"{document['kind'].lower()}{'.' + resource.group if resource.group else ''}/{metadata['name']}"
    if before is None:
        return f"{label} created"
    same = before["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"]
    return f"{label} {'unchanged' if same else 'configured'}"
