"""Which REST resource serves an apiVersion and kind, asked from the API server's discovery and remembered.

Used by ``wakeful apply`` and by the installer of manifests. Invariant: an unknown kind is looked up again each time,
so that a CustomResourceDefinition that has just appeared is found.
"""

from __future__ import annotations

from wakeful.kit.kube import ApiError, KubeClient, Obj, Resource


class UnknownKindError(Exception):
    """The server does not serve this apiVersion and kind; the text is one sentence."""


class Discovery:
    """Lookups on one API server."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._known: dict[tuple[str, str], Resource] = {}

    async def resource_of(self, doc: Obj) -> Resource:
        """The resource of a manifest. Raises ``UnknownKindError``; other failures are ``ApiError``."""
        key = (str(doc.get("apiVersion", "")), str(doc.get("kind", "")))
        if key not in self._known:
            await self._ask(key[0])
        if key not in self._known:
            raise UnknownKindError(
                f'no kind "{key[1]}" in apiVersion "{key[0]}": check both, or install its CRD'
            )
        return self._known[key]

    async def _ask(self, api_version: str) -> None:
        group, _, version = api_version.rpartition("/")
        try:
            answer = await self._client.request("GET", f"/apis/{api_version}" if group else f"/api/{version}")
        except ApiError as error:
            if error.code == 404:
                return
            raise
        for entry in answer.get("resources") or []:
            if "/" not in entry["name"]:
                resource = Resource(group, version, entry["name"], bool(entry["namespaced"]))
                self._known[(api_version, entry["kind"])] = resource
