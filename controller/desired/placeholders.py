"""``{{.Name}}`` and its kin in a runtime's containers, replaced by facts of the InferenceService.

Called by ``desired.predictor`` on the merged container. KServe runs Go's HTML template engine, which turns a quote in
a label into an entity; this is a plain substitution. Known: ``.Name``, ``.Namespace``, ``.Labels.key``,
``.Annotations.key``, and ``index .Labels "key"``. Text between braces that does not start like one of them (a chat
template, JSON) is left alone. Invariant: a missing label or annotation becomes the empty string.
"""

from __future__ import annotations

import re
from typing import Any

from controller.desired.reasons import Reason, SpecError
from wakeful.core.api.inferenceservice import InferenceService

_FORM = re.compile(
    r"\{\{-?\s*(?:index\s+\.(Labels|Annotations)\s+\"([^\"]*)\"|(\.[A-Za-z][^{}\s]*))\s*-?\}\}"
)


def render(value: Any, service: InferenceService) -> Any:
    """``value`` (any JSON) with the placeholders in its strings replaced. Raises ``SpecError`` on an unknown one."""
    if isinstance(value, str):
        return _FORM.sub(lambda match: _replacement(match, service), value) if "{{" in value else value
    if isinstance(value, list):
        return [render(item, service) for item in value]
    if isinstance(value, dict):
        return {key: render(item, service) for key, item in value.items()}
    return value


def _replacement(match: re.Match[str], service: InferenceService) -> str:
    tables = {"Labels": service.labels, "Annotations": service.annotations}
    table, key, field = match.groups()
    if table:
        return tables[table].get(key, "")
    if field == ".Name":
        return service.name
    if field == ".Namespace":
        return service.namespace
    table, _, key = field[1:].partition(".")
    if table in tables and key:
        return tables[table].get(key, "")
    message = (
        f"the runtime's placeholder {match.group()} is unknown; "
        "known are .Name, .Namespace, .Labels.KEY and .Annotations.KEY"
    )
    raise SpecError(Reason.INVALID_PREDICTOR_SPEC, message)
