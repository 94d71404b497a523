"""Kubernetes quantities (``250m``, ``1.5Gi``, ``2e3``) as exact numbers. Pure.

Called by the node (resourceFieldRef, limits, QoS class) and the autoscaler (cpu requests). Source: Kubernetes API conventions,
"Quantity". Invariant: a text that is not a quantity raises ``ValueError`` that names it; nothing is guessed.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Any

_FORM = re.compile(r"^([+-]?\d+(?:\.\d*)?|[+-]?\.\d+)(?:([eE][+-]?\d+)|([KMGTPE]i|[numkMGTPE]))?$")
_SUFFIX = {
    "n": Decimal(10) ** -9,
    "u": Decimal(10) ** -6,
    "m": Decimal(10) ** -3,
    **{letter: Decimal(10) ** (3 * (i + 1)) for i, letter in enumerate("kMGTPE")},
    **{f"{letter}i": Decimal(1024) ** (i + 1) for i, letter in enumerate("KMGTPE")},
}


def parse(text: Any) -> Decimal:
    """The value of a quantity in its base unit (cores, bytes). Raises ``ValueError``."""
    found = _FORM.match(str(text).strip())
    if found is None:
        raise ValueError(f"{text!r} is not a Kubernetes quantity such as 500m, 2 or 1Gi")
    number, exponent, suffix = found.groups()
    if exponent:
        return Decimal(number + exponent)
    return Decimal(number) * (_SUFFIX[suffix] if suffix else 1)


def divided(text: Any, divisor: Any) -> int:
    """``text / divisor`` rounded up, as resourceFieldRef gives it; a divisor of 0 or "" means 1."""
    unit = parse(divisor or "1")
    return math.ceil(parse(text) / (unit or 1))
