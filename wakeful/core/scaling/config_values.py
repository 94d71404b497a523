"""Values of a Knative ConfigMap: numbers, durations, switches; one sentence with key and value when one is wrong.

Called by the readers of ``config-autoscaler``, ``config-defaults``, ``config-network``, ``config-gc`` and the like, in
admission (a bad ConfigMap is refused) and in the controllers (which keep the last good one).

Invariant: what is returned was written by the user, never a silent default for something unreadable.
"""

from __future__ import annotations

import math

from wakeful.core.scaling import durations

TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})


def read_number(key: str, text: str) -> float:
    """A finite number."""
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"{key}: {text!r} is not a number") from None
    if not math.isfinite(number):
        raise ValueError(f"{key}: {text!r} is not a finite number")
    return number


def read_integer(key: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{key}: {text!r} is not a whole number") from None


def read_seconds(key: str, text: str) -> float:
    """A Go duration in seconds."""
    try:
        return durations.parse(text)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None


def read_whole_seconds(key: str, text: str, least_s: int) -> float:
    """A Go duration of whole seconds, at least ``least_s``."""
    seconds = read_seconds(key, text)
    if seconds < least_s or seconds % 1:
        raise ValueError(f"{key} = {text}, want {least_s}s or more in whole seconds")
    return seconds


def read_flag(key: str, text: str) -> bool:
    """What Go takes for a boolean."""
    if text.strip() in TRUE:
        return True
    if text.strip() in FALSE:
        return False
    raise ValueError(f"{key}: {text!r} is neither true nor false")
