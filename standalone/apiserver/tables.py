"""Server-side tables: what ``kubectl get`` prints, one row an object, columns by kind.

Called by get, list and watch when the client accepts ``as=Table``. Built-in kinds have their columns in ``tables_core``,
``tables_pods`` and ``tables_storage``; a custom resource has its ``additionalPrinterColumns``; any other kind Name and Age.

Invariant: a column never fails: what is missing is an empty cell, and a broken one is ``<invalid>``.
"""

from __future__ import annotations

import json
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal

from standalone.apiserver import jsonpath, tables_core, tables_pods, tables_storage
from standalone.apiserver.kinds import Kind
from standalone.apiserver.tables_cells import AGE, NAME, Column, Obj, age_of

IncludeObject = Literal["Metadata", "None", "Object"]
_DEFAULT = (NAME, AGE)
_COLUMNS = {**tables_core.COLUMNS, **tables_pods.COLUMNS, **tables_storage.COLUMNS}


def render_table(
    kind: Kind,
    objs: list[Obj],
    *,
    now: datetime,
    include_object: IncludeObject = "Metadata",
    resource_version: str = "",
    with_headers: bool = True,
) -> Obj:
    """The ``meta.k8s.io/v1`` Table of some objects of one kind. ``now`` is what ages are counted to."""
    columns = _columns(kind)
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": resource_version} if resource_version else {},
        "columnDefinitions": [_definition(column) for column in columns] if with_headers else [],
        "rows": [_row(columns, obj, now, include_object) for obj in objs],
    }


def _row(columns: tuple[Column, ...], obj: Obj, now: datetime, include_object: IncludeObject) -> Obj:
    row: Obj = {"cells": [_cell(column, obj, now) for column in columns], "object": None}
    if include_object == "Object":
        row["object"] = obj
    elif include_object == "Metadata":
        row["object"] = {
            "kind": "PartialObjectMetadata",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": obj.get("metadata") or {},
        }
    return row


def _cell(column: Column, obj: Obj, now: datetime) -> Any:
    try:
        return column.cell(obj, now)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        return "<invalid>" if column.type == "string" else None


def _definition(column: Column) -> Obj:
    return {
        "name": column.name,
        "type": column.type,
        "format": column.format,
        "description": column.description,
        "priority": column.priority,
    }


@lru_cache(maxsize=1024)
def _columns(kind: Kind) -> tuple[Column, ...]:
    if not kind.is_custom and not kind.columns:
        return _COLUMNS.get((kind.group, kind.kind), _DEFAULT)
    if not kind.columns:
        return _DEFAULT
    return (NAME, *(_custom(column) for column in kind.columns))


def _custom(column: Obj) -> Column:
    path = str(column.get("jsonPath") or "")
    type_name = str(column.get("type") or "string")

    def cell(obj: Obj, now: datetime) -> Any:
        return _value(type_name, jsonpath.first(path, obj), now)

    try:
        jsonpath.compiled(path)
    except jsonpath.JsonPathError:  # refused when the definition was written; an old one shows no value
        cell = _no_value
    return Column(
        str(column.get("name") or ""),
        cell,
        type_name,
        int(column.get("priority") or 0),
        str(column.get("format") or ""),
        str(column.get("description") or f"Custom resource definition column (in JSONPath format): {path}"),
    )


def _no_value(obj: Obj, now: datetime) -> None:
    return None


def _value(type_name: str, value: Any, now: datetime) -> Any:
    """One custom cell: typed as the column says, nothing where the value has another type."""
    if value is None:
        return None
    if type_name == "date":
        return age_of(value, now) if isinstance(value, str) else None
    if type_name == "boolean":
        return value if isinstance(value, bool) else None
    if type_name in ("integer", "number"):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number:
            return None
        return int(value) if type_name == "integer" else value
    if isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"))
