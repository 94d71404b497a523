"""Where records go: CloudEvents to a URL, or objects in S3 or a folder. One attempt a call; ``logger`` retries.

Called by ``logger`` only. aiohttp and minio load when a sink is made, so a server without a logger has neither.
Credentials of S3 come from the same variables as the storage initializer's (``AWS_*``, ``S3_ENDPOINT``).

Invariant: ``deliver`` returns only when the receiver has acknowledged every record; else it raises ``SinkError``.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import orjson

from wakeful.core.protocol import cloudevents, payload_record, payload_store
from wakeful.core.protocol.payload_record import Identity, Record
from wakeful.serving.payload_log.settings import PREFIX, Format, LoggerSettings
from wakeful.serving.pool import Pool
from wakeful.serving.settings import SettingsError

TIMEOUT_S = 10.0
WRITERS = 5
"""Threads that write objects: the process's own pool compresses answers, and must not wait for a slow store."""
CONFIG_KEYS = {
    "access_key_id": "AWS_ACCESS_KEY_ID",
    "secret_access_key": "AWS_SECRET_ACCESS_KEY",
    "endpoint_url": "AWS_ENDPOINT_URL",
    "region": "AWS_REGION",
}
"""Members of an entry of the Secret ``storage-config`` (kserve.md, storage spec) as variables."""


class SinkError(Exception):
    """Records could not be delivered now; ``is_final`` where trying again cannot help."""

    def __init__(self, text: str, is_final: bool = False) -> None:
        super().__init__(text)
        self.is_final = is_final


class Sink(Protocol):
    """Takes records; the logger's port."""

    max_records: int
    """How many ``deliver`` takes at once."""

    async def deliver(self, records: Sequence[Record]) -> None:
        """Hand over ``records``. Raises ``SinkError``."""

    async def close(self) -> None:
        """Give back connections."""


def make(settings: LoggerSettings, environ: Mapping[str, str]) -> Sink:
    """The sink that ``settings`` name."""
    if settings.url:
        return EventSink(settings.url, settings.identity)
    if settings.store_path.startswith("file:"):
        write: Any = _folder(urlsplit(settings.store_path).path)
        prefix = ""
    else:
        bucket, prefix = urlsplit(settings.store_path).netloc, urlsplit(settings.store_path).path
        write = _bucket(bucket, _access(environ))
    return ObjectSink(write, prefix, settings)


def check(settings: LoggerSettings, environ: Mapping[str, str]) -> None:
    """Raise ``SettingsError`` for what ``make`` could not take: before models are loaded, and in every process alike."""
    if settings.store_path.startswith("s3:"):
        _endpoint(_access(environ))


class EventSink:
    """Posts each record as a CloudEvent in binary mode."""

    max_records = 1

    def __init__(self, url: str, identity: Identity) -> None:
        import aiohttp

        self._url = url
        self._identity = identity
        self._failures: tuple[type[Exception], ...] = (aiohttp.ClientError, TimeoutError, OSError)
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_S), cookie_jar=aiohttp.DummyCookieJar()
        )

    async def deliver(self, records: Sequence[Record]) -> None:
        for record in records:
            headers, body = cloudevents.encode_binary(payload_record.as_event(record, self._identity))
            try:
                async with self._session.post(
                    self._url, data=body, headers=headers, allow_redirects=False
                ) as answer:
                    status = answer.status
            except self._failures as error:
                raise SinkError(f"{type(error).__name__}: {error}"[:300]) from error
            if status >= 300:
                raise SinkError(
                    f"the receiver answered {status}", status not in (404, 408, 429) and status < 500
                )

    async def close(self) -> None:
        await self._session.close()


class ObjectSink:
    """Writes records as one object of up to ``batch_size``, named after the first of them."""

    def __init__(self, write: Any, prefix: str, settings: LoggerSettings) -> None:
        self.max_records = settings.batch_size
        self._write = write
        self._prefix = prefix
        self._settings = settings
        self._pool = Pool(WRITERS, WRITERS, "payload-store")

    async def deliver(self, records: Sequence[Record]) -> None:
        try:
            await asyncio.wait_for(self._pool.run(partial(self._store, records)), TIMEOUT_S)
        except Exception as error:  # the client's own exceptions are many; all mean: not written
            raise SinkError(f"{type(error).__name__}: {error}"[:300]) from error

    def _store(self, records: Sequence[Record]) -> None:
        """In a thread: an object may hold thousands of records."""
        settings = self._settings
        # One row at a time: a body's values take ten times the room of its text.
        rows = (payload_record.as_row(record, settings.identity) for record in records)
        content = (
            _csv(rows)
            if settings.format is Format.CSV
            else b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)
        )
        key = payload_record.object_key(self._prefix, records[0], settings.identity, settings.format.value)
        self._write(key, content)

    async def close(self) -> None:
        self._pool.close()


def _csv(rows: Iterable[Mapping[str, Any]]) -> bytes:
    text = io.StringIO()
    table: csv.DictWriter[str] | None = None
    for row in rows:
        if table is None:
            table = csv.DictWriter(text, fieldnames=list(row))
            table.writeheader()
        table.writerow(
            {k: orjson.dumps(v).decode() if isinstance(v, dict | list) else v for k, v in row.items()}
        )
    return text.getvalue().encode()


def _folder(root: str) -> Any:
    def write(key: str, content: bytes) -> None:
        path = Path(root) / key
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        part.write_bytes(content)
        part.replace(path)

    return write


def _access(environ: Mapping[str, str]) -> Mapping[str, str]:
    """``environ`` with what a Secret's JSON for ``spec.*.logger.storage.key`` says. Raises ``SettingsError``."""
    given = environ.get(f"{PREFIX}STORE_CONFIG")
    if not given:
        return environ
    try:
        config = json.loads(given)
        found = {variable: str(config[key]) for key, variable in CONFIG_KEYS.items() if config.get(key)}
    except (ValueError, TypeError, AttributeError) as error:
        raise SettingsError(f"{PREFIX}STORE_CONFIG is no JSON object: {type(error).__name__}") from None
    return {**environ, **found}


def _endpoint(environ: Mapping[str, str]) -> str:
    """S3's URL. Raises ``SettingsError`` for what is none."""
    endpoint = environ.get("AWS_ENDPOINT_URL") or environ.get("S3_ENDPOINT") or "https://s3.amazonaws.com"
    if "://" not in endpoint:
        endpoint = ("http://" if environ.get("S3_USE_HTTPS") == "0" else "https://") + endpoint
    if why := payload_store.url_problem(endpoint):
        raise SettingsError(f"AWS_ENDPOINT_URL (of the payload logger's store) is {endpoint[:200]!r}: {why}")
    return endpoint


def _bucket(bucket: str, environ: Mapping[str, str]) -> Any:
    from minio import Minio

    endpoint = _endpoint(environ)
    parts = urlsplit(endpoint)
    try:
        client = Minio(
            parts.netloc,
            access_key=environ.get("AWS_ACCESS_KEY_ID"),
            secret_key=environ.get("AWS_SECRET_ACCESS_KEY"),
            session_token=environ.get("AWS_SESSION_TOKEN") or None,
            secure=parts.scheme == "https",
            region=environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or "us-east-1",
        )
    except ValueError as error:
        raise SettingsError(
            f"the payload logger has no S3 client for {endpoint[:200]!r}: {str(error)[:200]}"
        ) from error

    def write(key: str, content: bytes) -> None:
        client.put_object(bucket, key, io.BytesIO(content), len(content))

    return write
