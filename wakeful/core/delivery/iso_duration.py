"""ISO 8601 durations as DeliverySpec writes them: ``PT0.2S``, ``PT1M30S``, ``P1DT2H``, ``P2W``.

Called by the delivery policy and by admission. Left out: years and months, which have no fixed length in seconds.
Worked example: ``PT1M0.5S`` is 60.5 s. Invariant: a duration that parses is finite and has its sign only in front.
"""

from __future__ import annotations

import re

_NUMBER = r"(\d{1,9}(?:[.,]\d{1,9})?)"
_DURATION = re.compile(
    rf"([+-]?)P(?=[\dT])(?:{_NUMBER}W)?(?:{_NUMBER}D)?(?:T(?=\d)(?:{_NUMBER}H)?(?:{_NUMBER}M)?(?:{_NUMBER}S)?)?\Z",
    re.ASCII,
)
_SECONDS = (604_800.0, 86_400.0, 3_600.0, 60.0, 1.0)


def parse(text: str) -> float:
    """Seconds (negative with a leading minus). Raises ``ValueError`` with one sentence."""
    match = _DURATION.match(text)
    if match is None:
        raise ValueError(f"{text[:64]!r} is not an ISO 8601 duration like PT0.2S or PT1M")
    sign, *parts = match.groups()
    total = sum(
        float(part.replace(",", ".")) * unit for part, unit in zip(parts, _SECONDS, strict=True) if part
    )
    return -total if sign == "-" else total
