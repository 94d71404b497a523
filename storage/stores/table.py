"""Which store a scheme uses: the one place that picks an adapter, and imports its client library only then.

Called by ``__main__``. Invariant: importing this module loads neither minio nor urllib3.
"""

from __future__ import annotations

from storage.ports import ObjectStore
from storage.settings import Settings
from storage.uri import Source


def open_store(source: Source, settings: Settings) -> ObjectStore:
    """The store that holds ``source``. Raises ``StorageError`` for wrong settings."""
    if source.scheme == "file":
        from storage.stores.local import LocalStore

        return LocalStore(settings.local_roots)
    from storage.stores import connection

    environ = settings.environ
    policy = connection.Policy(
        settings.connect_timeout_s,
        settings.read_timeout_s,
        ca_file=connection.ca_file(environ),
        pool_size=settings.concurrency + 2,
    )
    if source.scheme == "s3":
        from storage.stores import s3

        found = s3.access(environ)
        url = f"{'https' if found.is_secure else 'http'}://{found.endpoint}"
        return s3.S3Store(source.location, found, policy, connection.proxy_for(url, environ))
    from storage.stores.http import HttpStore

    return HttpStore(environ, policy)
