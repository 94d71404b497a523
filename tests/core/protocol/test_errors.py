"""Every failure kind has a meaning for every protocol, and they agree with each other."""

from __future__ import annotations

import pytest

from storage.errors import KIND, Reason
from wakeful.core import errors
from wakeful.core.errors import DeliveryAction, FailureError, FailureKind, Fault, InvalidError

GRPC_CODES = {
    "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
    "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
    "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
}  # fmt: skip


def test_table_is_total() -> None:
    assert set(errors.MEANING) == set(FailureKind)
    assert set(KIND) == set(Reason)


@pytest.mark.parametrize("kind", FailureKind)
def test_row_is_consistent(kind: FailureKind) -> None:
    row = errors.MEANING[kind]
    assert row.grpc_code in GRPC_CODES
    assert (row.http_status >= 500) == (row.fault is Fault.SERVER) or kind is FailureKind.UNSUPPORTED
    if row.is_retryable:
        assert row.delivery is DeliveryAction.RETRY


def test_error_carries_kind_text_and_delay() -> None:
    error = FailureError(FailureKind.OVERLOADED, "full", 2.0)
    assert (str(error), error.kind, error.retry_after_s) == ("full", FailureKind.OVERLOADED, 2.0)
    assert error.meaning.http_status == 503
    assert InvalidError("bad").meaning.http_status == 400


def test_text_that_no_edge_could_send_is_written_out() -> None:
    assert str(FailureError(FailureKind.INTERNAL, "é \udcff")) == "é \\udcff"
