"""What a request is about (``Target``) and in which form it wants the answer (``Flavor``).

Built by ``routes`` from path and ``Accept``; read by every handler. Left out: bodies and selectors.

Invariant: a ``Target`` names a served kind; its namespace is "" for cluster-scoped kinds and None for "all".
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from standalone.apiserver import errors
from standalone.apiserver.kinds import Kind
from standalone.apiserver.server_types import Request
from standalone.apiserver.store_entries import Key


class Flavor(StrEnum):
    """The form of an answer."""

    OBJECT = "object"
    TABLE = "Table"
    METADATA = "PartialObjectMetadata"
    METADATA_LIST = "PartialObjectMetadataList"


@dataclass(frozen=True, slots=True)
class Target:
    """The kind, collection, object or subresource a request names."""

    kind: Kind
    namespace: str | None
    name: str = ""
    subresource: str = ""
    rest: str = ""
    """What follows the subresource in the path (of ``proxy``)."""

    @property
    def key(self) -> Key:
        return (self.namespace or "", self.name)

    def not_found(self) -> errors.StatusError:
        return errors.not_found(self.kind.plural, self.kind.group, self.name)


_PLAIN = ("", "*/*", "application/json", "application/*")


def parse_flavor(request: Request) -> Flavor:
    """The first form in ``Accept`` that is served; protobuf is skipped in favour of JSON. Raises 406."""
    accept = request.headers.get("accept", "")
    if accept in _PLAIN:
        return Flavor.OBJECT
    for item in accept.split(","):
        media, *parameters = (part.strip() for part in item.split(";"))
        if media not in _PLAIN:
            continue
        named = dict(part.partition("=")[::2] for part in parameters)
        wanted = named.get("as", "")
        if not wanted:
            return Flavor.OBJECT
        if (
            wanted in tuple(Flavor)
            and named.get("g") == "meta.k8s.io"
            and named.get("v") in ("v1", "v1beta1")
        ):
            return Flavor(wanted)
    raise errors.not_acceptable(is_form="as=" in accept)
