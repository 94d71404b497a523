"""Delivery policy, retry, dead letter, hops: formulas and properties (reference sections 4.2 to 4.8)."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wakeful.core.delivery import dead_letter, hops, iso_duration, policy, retry
from wakeful.core.delivery.policy import Backoff, Policy
from wakeful.core.delivery.retry import Failure, Reason, Verdict
from wakeful.core.protocol.cloudevents import Event

AT = datetime(2026, 1, 1, tzinfo=UTC)
EVENT = Event("1", "/s", "t", data=b"x")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("PT0.2S", 0.2),
        ("PT1M30S", 90),
        ("P1DT2H", 93_600),
        ("P2W", 1_209_600),
        ("-PT1S", -1),
        ("PT0S", 0),
        ("PT0,5S", 0.5),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert iso_duration.parse(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "P", "PT", "P1DT", "1S", "PT1", "P1Y", "P1M", "PT-1S", "pt1s", "PT" + "9" * 400 + "S"]
)
def test_bad_durations(text: str) -> None:
    with pytest.raises(ValueError, match="ISO 8601"):
        iso_duration.parse(text)


def test_trigger_delivery_replaces_the_brokers_as_a_whole() -> None:
    broker = {"retry": 10, "backoffPolicy": "exponential", "backoffDelay": "PT0.2S"}
    assert policy.effective({"format": "json"}, broker) == Policy(is_structured=True)
    assert policy.effective(None, broker) == Policy(10, Backoff.EXPONENTIAL, 0.2)
    assert policy.effective({}, broker) == Policy()
    assert policy.effective(None, None) == Policy()


def test_dead_letter_sink_falls_back_alone() -> None:
    assert policy.dead_letter_uri(None, "http://b") == "http://b"
    assert policy.dead_letter_uri("http://t", "http://b") == "http://t"
    assert policy.dead_letter_uri(None, None) is None


@pytest.mark.parametrize(
    "delivery",
    [
        {"retry": -1},
        {"retry": "1"},
        {"retry": True},
        {"backoffPolicy": "x"},
        {"backoffDelay": "1s"},
        {"format": "xml"},
        {"timeout": "-PT1S"},
    ],
)
def test_bad_policies_name_the_field(delivery: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(delivery))):
        policy.parse_policy(delivery)


@pytest.mark.parametrize(
    ("backoff", "waits"),
    [(Backoff.EXPONENTIAL, [0.2, 0.4, 0.8]), (Backoff.LINEAR, [0.0, 0.2, 0.4]), (None, [0.0, 0.0, 0.0])],
)
def test_backoff(backoff: Backoff | None, waits: list[float]) -> None:
    chosen = Policy(3, backoff, 0.2)
    assert [retry.backoff_s(chosen, k) for k in (1, 2, 3)] == pytest.approx(waits)


def test_default_broker_waits_205_seconds_in_all() -> None:
    chosen = Policy(10, Backoff.EXPONENTIAL, 0.2)
    assert sum(retry.backoff_s(chosen, k) for k in range(1, 11)) == pytest.approx(204.6)


@pytest.mark.parametrize(
    ("status", "expected"),
    [(None, True), (404, True), (408, True), (409, True), (429, True), (500, True), (599, True)]
    + [(status, False) for status in (301, 302, 400, 401, 403, 405, 410, 413, 415, 422)],
)
def test_which_statuses_are_retried(status: int | None, expected: bool) -> None:
    decision = retry.decide(Policy(1), 1, Failure("u", status), True, AT)
    assert (decision.verdict is Verdict.RETRY) is expected
    assert decision.verdict is Verdict.RETRY or decision.reason is Reason.NOT_RETRYABLE


@pytest.mark.parametrize(
    ("header", "maximum", "wait"),
    [
        ("7", None, 0.2),
        ("7", 60.0, 7.0),
        ("7", 3.0, 3.0),
        ("7", 0.0, 0.2),
        ("Thu, 01 Jan 2026 00:00:09 GMT", 60.0, 9.0),
        ("Thu, 01 Jan 2020 00:00:09 GMT", 60.0, 0.2),
        ("soon", 60.0, 0.2),
        ("٣", 60.0, 0.2),
    ],
)
def test_retry_after(header: str, maximum: float | None, wait: float) -> None:
    chosen = Policy(3, Backoff.EXPONENTIAL, 0.2, retry_after_max_s=maximum)
    assert retry.decide(chosen, 1, Failure("u", 429, retry_after=header), False, AT).wait_s == pytest.approx(
        wait
    )
    assert retry.decide(chosen, 1, Failure("u", 500, retry_after=header), False, AT).wait_s == pytest.approx(
        0.2
    )


@given(
    st.integers(0, 2_000),
    st.sampled_from([None, *Backoff]),
    st.floats(0, 1e6),
    st.none() | st.integers(100, 599).filter(lambda status: status // 100 != 2),
    st.booleans(),
)
def test_retries_are_bounded_and_end_once(
    retries: int, backoff: Backoff | None, delay: float, status: int | None, has_sink: bool
) -> None:
    chosen = Policy(retries, backoff, delay)
    attempts = 1
    while True:
        decision = retry.decide(chosen, attempts, Failure("u", status), has_sink, AT)
        if decision.verdict is not Verdict.RETRY:
            break
        assert 0 <= decision.wait_s <= retry.MAX_WAIT_S
        attempts += 1
    assert attempts == (retries + 1 if retry.is_retryable(status) else 1)
    assert decision.verdict is (Verdict.DEAD_LETTER if has_sink else Verdict.DROP)


@pytest.mark.parametrize("size", [0, 1, 767, 768, 769, 100_000])
def test_dead_letter_data_is_cut_then_encoded(size: int) -> None:
    marked = dead_letter.mark(EVENT, Failure("http://x/", 500, body=b"e" * size))
    data = marked.extensions.get("knativeerrordata")
    assert (data is None) is (size == 0)
    if isinstance(data, str):
        assert len(data) <= 1024
        assert base64.b64decode(data) == b"e" * min(size, 768)
    assert (marked.extensions["knativeerrorcode"], marked.extensions["knativeerrordest"]) == (
        "500",
        "http://x/",
    )
    assert (marked.id, marked.data) == (EVENT.id, EVENT.data)


def test_dead_letter_of_no_answer() -> None:
    marked = dead_letter.mark(EVENT, Failure("http://x/", None, "connection refused"))
    assert marked.extensions["knativeerrorcode"] == "500"
    assert (
        base64.b64decode(str(marked.extensions["knativeerrordata"])) == b"dispatch error: connection refused"
    )


@pytest.mark.parametrize(
    ("given_ttl", "left"),
    [
        (None, "255"),
        ("x", "255"),
        ("1.5", "255"),
        ("9" * 40, "255"),
        ("2", "1"),
        (7, "6"),
        ("100000", "255"),
        (True, "255"),
    ],
)
def test_ttl(given_ttl: str | int | None, left: str) -> None:
    extensions = {} if given_ttl is None else {"knativebrokerttl": given_ttl}
    admitted = hops.admit(Event("1", "/s", "t", extensions=extensions), "2026-01-01T00:00:00Z")
    assert admitted is not None
    assert admitted.extensions["knativebrokerttl"] == left


@pytest.mark.parametrize("given_ttl", ["1", "0", "-5", 1, 0, -(2**31)])
def test_ttl_used_up(given_ttl: str | int) -> None:
    assert hops.admit(Event("1", "/s", "t", extensions={"knativebrokerttl": given_ttl}), "x") is None


def test_a_reply_loop_ends() -> None:
    event: Event | None = hops.admit(EVENT, "2026-01-01T00:00:00Z")
    hops_done = 0
    while event is not None:
        reply = Event("1", "/s", "t", extensions={"knativebrokerttl": "255"})
        event = hops.admit(hops.for_reply(reply, event), "2026-01-01T00:00:00Z")
        hops_done += 1
    assert hops_done == 255


def test_admitted_extensions_are_strings_and_the_subscriber_sees_no_ttl() -> None:
    event = hops.admit(Event("1", "/s", "t", extensions={"n": 1, "b": True}), "2026-01-01T00:00:00Z")
    assert event is not None
    assert dict(hops.for_subscriber(event).extensions) == {
        "n": "1",
        "b": "true",
        "knativearrivaltime": "2026-01-01T00:00:00Z",
    }
