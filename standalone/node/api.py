"""The Kubernetes API as the workers see it: the adapter of the port ``Cluster``.

Called by ``__main__``. Client errors are translated here: 404 means gone, 409 on a patch that names the uid means
another pod of the same name, 400, 403 and 422 are final. Secrets and ConfigMaps are read when they are needed; a
claim is followed anyway, and a waking model need not ask for it.
Invariant: a status or deletion meant for one pod never reaches another one of the same name.
"""

from __future__ import annotations

from typing import Any

import aiohttp

from standalone.node.events import Recorder
from standalone.node.ports import ClusterError
from wakeful.kit.informer import Informer
from wakeful.kit.kube import CONFIGMAPS, PODS, PVCS, SECRETS, ApiError, KubeClient

Obj = dict[str, Any]

_KINDS = {"Secret": SECRETS, "ConfigMap": CONFIGMAPS, "PersistentVolumeClaim": PVCS}
_FINAL = {400, 403, 405, 413, 415, 422}
_LOST = (aiohttp.ClientError, OSError, TimeoutError)


class ApiCluster:
    """``Cluster`` on a ``KubeClient``."""

    def __init__(self, client: KubeClient, recorder: Recorder, claims: Informer) -> None:
        self._client = client
        self._recorder = recorder
        self._claims = claims

    async def get(self, kind: str, namespace: str, name: str) -> Obj | None:
        if kind == "PersistentVolumeClaim" and (known := self._claims.get(namespace, name)) is not None:
            return known
        try:
            obj = await self._client.find(_KINDS[kind], namespace, name)
        except ApiError as error:
            raise _translated(error) from error
        except _LOST as error:
            raise ClusterError(f"cannot read {kind} {namespace}/{name}: {error!r}") from error
        return None if obj is None else {"kind": kind, **obj}

    async def token(self, namespace: str, account: str, audience: str, expires_s: int) -> str:
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        spec = {"audiences": [audience] if audience else [], "expirationSeconds": expires_s}
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        try:
            answer = await self._client.request("POST", path, body)
            return str(answer["status"]["token"])
        except ApiError as error:
            raise _translated(error) from error
        except (*_LOST, KeyError) as error:
            raise ClusterError(f"no token for serviceaccount {namespace}/{account}: {error!r}") from error

    async def patch_status(self, pod: Obj, body: Obj) -> None:
        metadata = pod["metadata"]
        try:
            await self._client.patch(
                PODS, metadata["namespace"], metadata["name"], body, subresource="status"
            )
        except ApiError as error:
            if error.code not in (404, 409):
                raise _translated(error) from error
        except _LOST as error:
            raise ClusterError(f"the API server is away: {error!r}") from error

    async def delete_pod(self, pod: Obj) -> None:
        metadata = pod["metadata"]
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": metadata["uid"]}}
        try:
            await self._client.delete(PODS, metadata["namespace"], metadata["name"], **options)
        except ApiError as error:
            if error.code != 409:
                raise _translated(error) from error
        except _LOST as error:
            raise ClusterError(f"the API server is away: {error!r}") from error

    def emit(self, pod: Obj, event_type: str, reason: str, message: str, container: str = "") -> None:
        self._recorder.emit(pod, event_type, reason, message, container)


def _translated(error: ApiError) -> ClusterError:
    return ClusterError(f"the API server answered {error.code}: {error}", error.code in _FINAL)
