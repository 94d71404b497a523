"""Which objects of a resource a list, watch or deletecollection means: namespace, labels, fields.

Built from the query by the read and delete handlers. Reads as little as it can: a name or namespace in the field
selector is compared with the key, labels are kept beside the bytes, only other fields need the object parsed.

Invariant: two selections with the same ``group_key`` choose the same objects, so watchers can share their events.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from standalone.apiserver import errors, selectors
from standalone.apiserver.kinds import Kind
from standalone.apiserver.server_types import Request
from standalone.apiserver.store_entries import Entry


@dataclass(frozen=True, slots=True)
class Selection:
    """The objects of one resource that a request is about."""

    namespace: str | None
    name: str | None
    group_key: tuple[str | None, str, str]
    _labels: Callable[[dict[str, str]], bool] | None
    _fields: selectors.FieldSelector | None

    def takes(self, entry: Entry) -> bool:
        """Whether the entry is meant."""
        namespace, name = entry.key
        if self.namespace is not None and namespace != self.namespace:
            return False
        if self.name is not None and name != self.name:
            return False
        if self._labels is not None and not self._labels(entry.labels):
            return False
        return self._fields is None or self._fields(entry.load())

    def takes_all(self) -> bool:
        """Whether nothing but the namespace restricts it."""
        return self.name is None and self._labels is None and self._fields is None


def parse(request: Request, kind: Kind, namespace: str | None, name: str = "") -> Selection:
    """The selection of a collection request (or, with ``name``, of a watch on one object). Raises 400."""
    label_text = request.query.get("labelSelector", "")
    field_text = request.query.get("fieldSelector", "")
    try:
        labels = selectors.parse_labels(label_text) if label_text else None
        supported = selectors.supported_fields(kind.group, kind.kind, kind.selectable_fields)
        is_plain = not kind.is_custom and not selectors.has_own_fields(kind.group, kind.kind)
        fields = selectors.parse_fields(field_text, supported, is_plain=is_plain) if field_text else None
    except selectors.SelectorError as error:
        raise errors.bad_request(error.message) from error
    if fields is not None:
        name, namespace, fields = _split(fields, name, namespace)
    return Selection(namespace, name or None, (namespace, label_text, f"{name}|{field_text}"), labels, fields)


def _split(
    fields: selectors.FieldSelector, name: str, namespace: str | None
) -> tuple[str, str | None, selectors.FieldSelector | None]:
    """Take name and namespace out of the field selector where they are fixed and agree with the path."""
    rest = []
    for term in fields.terms:
        if term.path == "metadata.name" and term.is_equal and name in ("", term.value) and term.value:
            name = term.value
        elif term.path == "metadata.namespace" and term.is_equal and namespace in (None, term.value):
            namespace = term.value
        else:
            rest.append(term)
    return name, namespace, selectors.FieldSelector(tuple(rest)) if rest else None
