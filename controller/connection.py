"""The way to the Kubernetes API: configuration from a kubeconfig or from the pod, one HTTP client, kopf's credentials.

Uses the official client (``kubernetes.aio``) for configuration (contexts, certificates, exec plugins, refreshed
tokens) and transport; requests are plain paths and JSON, so no model classes are loaded and no discovery is done.
Invariant: every answer that is not 2xx becomes an ``ApiFailureError`` with the server's own message.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import kopf
import orjson
from kubernetes.aio import config as kube_config
from kubernetes.aio.client import ApiClient, Configuration

from wakeful.kit import logs
from wakeful.kit.kube import Obj, Resource

REQUEST_TIMEOUT_S = 30.0
RETRY_S = 0.2
KINDS_LIMIT_S = 30.0
FIELD_MANAGER = "wakeful-controller"
APPLY = "application/apply-patch+yaml"
JSON = "application/json"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"

log = logs.get("controller.connection")


class ApiFailureError(Exception):
    """The API server answered with an error; ``code`` 0 means that it could not be reached."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


async def load(kubeconfig: Path | None) -> Configuration:
    """Wait for a usable configuration; a kubeconfig that is not there yet, or half written, is tried again."""
    told = False
    loaders: Any = kube_config  # the official client ships without annotations here
    while True:
        configuration = Configuration()
        try:
            if kubeconfig is None:
                loaders.load_incluster_config(client_configuration=configuration)
            else:
                await loaders.load_kube_config(str(kubeconfig), client_configuration=configuration)
            return configuration
        except (
            kube_config.ConfigException,
            OSError,
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
        ) as error:
            if not told:
                log.warning(
                    "waiting for the kubeconfig", path=str(kubeconfig or "in-cluster"), error=repr(error)
                )
                told = True
        await asyncio.sleep(RETRY_S)


async def login_info(configuration: Any) -> kopf.ConnectionInfo:
    """The same way in, as kopf wants it. A token is read now: kopf asks again when it is refused."""
    if configuration.refresh_api_key_hook is not None:
        refreshed = configuration.refresh_api_key_hook(configuration)
        if asyncio.iscoroutine(refreshed):
            await refreshed
    scheme, _, token = str((configuration.api_key or {}).get("BearerToken") or "").rpartition(" ")
    return kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert or None,
        ca_data=configuration.ca_cert_data or None,
        insecure=not configuration.verify_ssl,
        scheme=scheme or ("Bearer" if token else None),
        token=token or None,
        certificate_path=configuration.cert_file or None,
        private_key_path=configuration.key_file or None,
    )


class Api:
    """Requests on one API server. Use as ``async with Api(configuration) as api``.

    ``on_answer`` is told of each: method, path, status (0: no answer).
    """

    def __init__(
        self, configuration: Configuration, on_answer: Callable[[str, str, int], None] | None = None
    ) -> None:
        self._client: Any = ApiClient(configuration)
        self._configuration = configuration
        self._on_answer = on_answer or (lambda method, path, code: None)

    async def __aenter__(self) -> Api:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def get(self, path: str, accept: str = JSON) -> Obj | None:
        """The object or list at ``path``; None when it does not exist."""
        try:
            return await self.request("GET", path, accept=accept)
        except ApiFailureError as error:
            if error.code == 404:
                return None
            raise

    async def get_metadata(self, path: str) -> Obj | None:
        """The list at ``path`` with nothing but each object's metadata; None when it does not exist."""
        try:
            return await self.request("GET", path, accept=f"{METADATA_LIST},{JSON}")
        except ApiFailureError as error:
            if error.code == 404:
                return None
            raise

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        content_type: str = JSON,
        accept: str = JSON,
        **query: str,
    ) -> Obj:
        """One request. Raises ``ApiFailureError``."""
        headers = {"Accept": accept, "Content-Type": content_type, "User-Agent": FIELD_MANAGER}
        await self._client.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
        url = self._configuration.host + path + (f"?{urlencode(query)}" if query else "")
        timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S)
        try:
            answer = await self._client.call_api(method, url, headers, body, _request_timeout=timeout)
            raw: bytes = await answer.read()
        except (aiohttp.ClientError, OSError, TimeoutError, ssl.SSLError) as error:
            self._on_answer(method, path, 0)
            raise ApiFailureError(0, f"the API server cannot be reached: {error!r}") from error
        self._on_answer(method, path, answer.status)
        parsed = _parse(raw)
        if answer.status >= 300:
            message = str(parsed.get("message") or f"the API server answered {answer.status}")
            raise ApiFailureError(answer.status, message)
        return parsed


async def wait_for_server(api: Api) -> None:
    """Wait until the API server answers at all."""
    told = False
    while True:
        try:
            await api.request("GET", "/version")
            return
        except ApiFailureError as error:
            if error.code not in (0, 503):
                return
            if not told:
                log.warning("waiting for the API server", error=str(error))
                told = True
        await asyncio.sleep(RETRY_S)


async def wait_for_kinds(api: Api, kinds: Iterable[Resource], limit_s: float = KINDS_LIMIT_S) -> None:
    """Wait until the API server serves all ``kinds``, or for ``limit_s``: a cluster may do without Knative.

    kopf lists what there is and then watches for new definitions; one that comes between the two it never sees.
    """
    told = False
    deadline = time.monotonic() + limit_s
    missing = list(kinds)
    while True:
        try:
            missing = [kind for kind in missing if not await _is_served(api, kind)]
        except ApiFailureError as error:
            log.warning("cannot ask for kinds", code=error.code, error=str(error))
        if not missing or time.monotonic() > deadline:
            return
        if not told:
            log.warning("waiting for definitions", kinds=[f"{kind.plural}.{kind.group}" for kind in missing])
            told = True
        await asyncio.sleep(RETRY_S)


async def _is_served(api: Api, kind: Resource) -> bool:
    found = await api.get(f"/apis/{kind.group}/{kind.version}") or {}
    return any(entry.get("name") == kind.plural for entry in found.get("resources") or ())


def operator_namespace(given: str | None) -> str:
    """The namespace of the operator's own objects: as given, or ``POD_NAMESPACE``, or ``wakeful-system``."""
    return given or os.environ.get("POD_NAMESPACE") or "wakeful-system"


def _parse(raw: bytes) -> Obj:
    try:
        value = orjson.loads(raw) if raw else {}
    except ValueError:
        value = {"message": raw[:500].decode(errors="replace")}
    return value if isinstance(value, dict) else {"message": str(value)[:500]}
