"""How deep a body may be nested, and YAML that would grow: refused before anything recursive touches it.

Called where bodies are decoded and where a patch has made an object. The limit keeps every later walk (defaults,
validation, copies, serialisation, which ends at 254) far from Python's own limits; Kubernetes' deepest kind, a
definition with a schema of pods, has about forty levels.

Invariant: no body can end the process or use more memory than a constant times its size.
"""

from __future__ import annotations

from typing import Any

from standalone.apiserver import errors

MAX_DEPTH = 200


def check(value: Any) -> None:
    """Raises 400 when a value is nested deeper than ``MAX_DEPTH``."""
    layer = [value]
    for _ in range(MAX_DEPTH):
        deeper: list[Any] = []
        for item in layer:
            if isinstance(item, dict):
                deeper += [one for one in item.values() if isinstance(one, (dict, list))]
            elif isinstance(item, list):
                deeper += [one for one in item if isinstance(one, (dict, list))]
        if not deeper:
            return
        layer = deeper
    raise _too_deep()


def check_yaml(body: bytes) -> None:
    """Refuse YAML with aliases or too many levels, event by event. Raises 400, or ``yaml.YAMLError``."""
    import yaml

    depth = 0
    for event in yaml.parse(body, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.AliasEvent):
            line = event.start_mark.line + 1 if event.start_mark else 0
            text = "YAML aliases (*name) are not accepted here: send JSON, as kubectl does, or write the value out"
            raise errors.bad_request(f"error decoding YAML: line {line}: {text}")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise _too_deep()
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _too_deep() -> errors.StatusError:
    return errors.bad_request(f"the body is nested too deeply: at most {MAX_DEPTH} levels are accepted")
