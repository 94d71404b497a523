"""What one request may ask otherwise than the explainer's flags say: its ``"parameters"``, checked name by name.

Called by ``explaining``. ``samples`` and ``target`` for every method, ``output`` for programs with several. Left out: whether
there is such a target, which only the predictor's answer tells (``methods``, ``gradients``).

Invariant: a name that is not taken is refused, also beside ``instances``: nothing a caller asks for is left out silently.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from runtimes.explainer.settings import ExplainerSettings
from wakeful.core.errors import InvalidError
from wakeful.core.protocol.problem import shown, type_name

NAMES = ("samples", "target", "output")


@dataclass(frozen=True, slots=True)
class Parameters:
    """One request's wishes; None: as the method chooses."""

    samples: int
    target: Any = None
    output: Any = None


def of(
    payload: dict[str, Any], taken: Sequence[str], settings: ExplainerSettings, fewest_samples: int
) -> Parameters:
    """The parameters of a V1 payload. Raises ``InvalidError`` with the place."""
    if beside := [name for name in NAMES if name in payload]:
        raise InvalidError(f'"{beside[0]}" stands beside "instances": it belongs in "parameters"')
    given = {} if payload.get("parameters") is None else payload["parameters"]
    if not isinstance(given, dict):
        raise InvalidError(f'"parameters" is {type_name(given)}: it takes an object with {", ".join(taken)}')
    for name in given:
        if name not in taken:
            raise InvalidError(
                f"parameters has {shown(name)}, which {settings.method} does not take; it takes {', '.join(taken)}"
            )
    samples = given.get("samples")
    if samples is None:
        samples = settings.samples
    elif type(samples) is not int or not fewest_samples <= samples <= settings.max_samples:
        raise InvalidError(
            f"parameters.samples is {shown(samples)}: it takes a whole number from {fewest_samples} to {settings.max_samples}"
        )
    return Parameters(samples, given.get("target"), given.get("output"))
