"""Quantities of resources (``500m``, ``1Gi``, ``1e3``): to numbers, and to the one text Kubernetes stores for each.

Called by ``structural`` when it defaults built-in kinds and by the checks that compare requests with limits. Custom
resources keep what the user wrote: there a quantity is only text or a number. Theory: a quantity is a decimal number
with a suffix of one of three families (decimal ``m k M``, binary ``Ki Mi``, exponent ``e3``); the stored text is in
the same family with the largest suffix that leaves no fraction: ``0.5`` is ``500m``, ``1024Mi`` is ``1Gi``.

Invariant: ``canonical`` is idempotent, and returns text that is no quantity as it is.
"""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from functools import lru_cache

_QUANTITY = re.compile(r"([+-]?)(\d+\.?\d*|\.\d+)(?:([KMGTPE]i)|([numkMGTPE])?|[eE]([+-]?\d{1,3}))", re.ASCII)
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_DECIMAL_SUFFIX = {exponent: suffix for suffix, exponent in _DECIMAL.items()}
_BINARY = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_NANO = Decimal("1e-9")
_EXACT = Context(prec=60)
MAX = Decimal(2**63 - 1)


@lru_cache(maxsize=2048)
def _parsed(text: str) -> tuple[Decimal, str] | None:
    """(value, family) or None; more than nine decimal places are rounded away from zero, as Kubernetes does."""
    match = _QUANTITY.fullmatch(text)
    if match is None or len(text) > 64:
        return None
    sign, digits, binary, decimal, exponent = match.groups()
    value = Decimal(digits)
    family = "decimal"
    if binary:
        family, value = "binary", value * 1024 ** _BINARY.index(binary)
    elif exponent:
        family, value = "exponent", value.scaleb(int(exponent), _EXACT)
    else:
        value = value.scaleb(_DECIMAL[decimal or ""], _EXACT)
    if value > MAX:
        value = MAX
    value = value.quantize(_NANO, ROUND_CEILING, _EXACT)
    return (-value if sign == "-" else value), family


def number(value: object) -> Decimal | None:
    """The number a quantity stands for; None when it is none."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    found = _parsed(str(value))
    return None if found is None else found[0]


def canonical(value: str | int | float) -> str:
    """The text that Kubernetes stores for a quantity given as text or number."""
    return _canonical(str(value))


@lru_cache(maxsize=2048)
def _canonical(text: str) -> str:
    found = _parsed(text)
    if found is None:
        return text
    value, family = found
    if value == 0:
        return "0"
    is_whole = value == value.to_integral_value(ROUND_FLOOR)
    if family == "binary" and is_whole and abs(value) >= 1024:
        whole, step = int(value), 0
        while whole % 1024 == 0 and step < len(_BINARY) - 1:
            whole, step = whole // 1024, step + 1
        return f"{whole}{_BINARY[step]}"
    mantissa, power = int(value.scaleb(9, _EXACT)), -9
    while mantissa % 1000 == 0 and (family == "exponent" or power < 18):
        mantissa, power = mantissa // 1000, power + 3
    if family == "exponent":
        return f"{mantissa}e{power}" if power else str(mantissa)
    return f"{mantissa}{_DECIMAL_SUFFIX[power]}"
