"""Where a payload logger may write: whether an address can be one at all, told before the first record is lost to it.

Called when an InferenceService is applied (``core.api``) and when a model server starts (``serving.payload_log``), so that
both refuse the same with the same words. Left out: whether the place exists and lets us in, which only a write tells.
Source: the naming rules of S3's buckets, in the older form (63 characters, capitals and ``_``) that its clients still take.

Invariant: a store without a problem is ``s3://BUCKET/PREFIX`` or ``file:///FOLDER``, and nothing of it is left out.
"""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

MAX_PREFIX_BYTES = 512
"""Half of what a key of S3 may have: the rest is an object's name."""
_BUCKET = re.compile(r"(?!.*(?:\.\.|\.-|-\.))[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")
_ADDRESS = re.compile(r"[0-9]+(\.[0-9]+){3}")
NO_STORE = "it takes s3://BUCKET/PREFIX or file:///FOLDER"
NO_BUCKET = (
    "no bucket can be called so: 3 to 63 letters, digits, '.', '-' and '_', a letter or digit at both ends, "
    "no '..', '.-' or '-.', no IP address"
)


def path_of(path: str, bucket: str) -> str:
    """``path`` as it is where it is a URI, else below ``bucket``."""
    return path if "://" in path or not bucket else f"s3://{bucket}/{path.strip('/')}"


def store_problem(store: str) -> str:
    """Why nothing can be written to ``store``; '' where that cannot be said beforehand."""
    parts = _split(store)
    if parts is None or parts.scheme not in ("s3", "file") or not store.startswith(f"{parts.scheme}://"):
        return NO_STORE
    if parts.scheme == "file":  # file://logs/x names a host and would be the folder /x
        return "" if not parts.netloc and len(parts.path) > 1 else NO_STORE
    bucket = parts.netloc
    if not bucket:
        return NO_STORE
    if not _BUCKET.fullmatch(bucket) or _ADDRESS.fullmatch(bucket):
        return NO_BUCKET
    if parts.query or parts.fragment or "?" in store or "#" in store:
        return "what stands after '?' or '#' would be left out of the prefix: take it out"
    if len(parts.path.encode(errors="replace")) > MAX_PREFIX_BYTES:
        return f"the prefix has more than {MAX_PREFIX_BYTES} bytes: an object's key would be too long"
    return ""


def url_problem(url: str) -> str:
    """Why no event can be sent to ``url``; '' where that cannot be said beforehand."""
    parts = _split(url)
    try:
        if parts is None or parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
            return "it takes http://HOST/PATH or https://HOST/PATH"
    except ValueError:
        return "its port is no number from 1 to 65535"
    return ""


def _split(text: str) -> SplitResult | None:
    """The parts of a URI; None for what is none, or has blanks or control characters, which ``urlsplit`` would drop."""
    if not text.isprintable() or " " in text:
        return None
    try:
        return urlsplit(text)
    except ValueError:
        return None
