"""Values as JSON, whatever model code made them of: numpy's, torch's and pandas' as well as Python's own.

``oip.dump`` for everybody. orjson does nearly all by itself; what it takes only after a conversion costs a second pass, so that
answers of plain values pay nothing. Nothing here imports numpy or torch: they are known by their methods.

Invariant: a value has the same JSON in both passes, and one that has none is a ``TypeError`` that says what to return.
"""

from __future__ import annotations

from typing import Any

import orjson

from wakeful.core.errors import FailureError, FailureKind

_FLAGS = orjson.OPT_NON_STR_KEYS
ADVICE = {
    "c": "return its .real and .imag, or np.abs() of it",
    "m": "return numbers, by .astype('int64')",
}
"""What to return instead, by numpy's kind."""


def dump(value: Any) -> bytes:
    """Compact JSON; arrays and scalars of numpy, datetimes (ISO 8601) and non-text keys are understood; NaN becomes null.

    Raises ``TypeError`` for what JSON has no form for.
    """
    try:
        return orjson.dumps(value, _listed, _FLAGS | orjson.OPT_SERIALIZE_NUMPY)
    except TypeError:
        pass
    try:
        return orjson.dumps(value, _converted, _FLAGS)
    except TypeError as error:
        raise TypeError(str(error.__cause__ or error)[:300]) from error


def answer(value: Any, what: str = "the model's answer") -> bytes:
    """As ``dump``, of what model code made. Raises ``FailureError`` (internal): it is the model's to repair."""
    try:
        return dump(value)
    except TypeError as error:
        raise FailureError(FailureKind.INTERNAL, f"{what} has no JSON form: {error}") from error


def text(value: str, what: str = "the model's answer") -> bytes:
    """Text of model code as UTF-8. Raises ``FailureError`` (internal) where it has none: half of a surrogate pair."""
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        raise FailureError(
            FailureKind.INTERNAL,
            f"{what} is text that is no UTF-8 ({value[error.start]!a} at character {error.start}): return bytes",
        ) from error


def is_utf8(value: str) -> bool:
    """Whether text can be sent; code that reads files with ``surrogateescape`` makes some that cannot."""
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            return False
    return True


def _listed(value: Any) -> Any:
    """Arrays that orjson leaves to us: of text or objects, without dimensions, or not row by row in memory."""
    if not hasattr(value, "tolist"):
        raise TypeError
    return value.tolist()


def _converted(value: Any) -> Any:
    """A value that orjson does not know as one that it knows."""
    name = type(value).__name__
    if isinstance(value, bytes | bytearray):
        raise TypeError(f"{name} is not JSON serializable: return text, by .decode() or as base64")
    if not hasattr(value, "tolist"):
        raise TypeError(
            f"{name} is not JSON serializable: return dicts, lists, text, numbers or numpy arrays"
        )
    dtype = getattr(value, "dtype", None)
    kind = getattr(dtype, "kind", "")
    if kind in ADVICE:
        raise TypeError(f"numpy's {dtype} is not JSON serializable: {ADVICE[kind]}")
    if kind == "f" and dtype.itemsize > 8:  # type: ignore[union-attr]  # it has a kind
        value = value.astype("f8")
    elif kind == "M":
        value = value.astype("M8[us]")
    return value.tolist()
