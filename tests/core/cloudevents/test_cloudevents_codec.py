"""The CloudEvents codec: every trap of the specification (sections 5.1 to 5.7 of the behaviour reference)."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wakeful.core.protocol import cloudevents as ce
from wakeful.core.protocol.cloudevents import Event, InvalidEventError, Limits, Mode, Rule

BASE = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "t"}
STRUCTURED = {"Content-Type": "application/cloudevents+json"}


def binary(body: bytes = b"", **more: str) -> Event:
    return ce.decode(BASE | {name.replace("_", "-"): value for name, value in more.items()}, body)


def structured(**members: object) -> Event:
    base = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t"}
    return ce.decode(STRUCTURED, json.dumps(base | members).encode())


def refused(headers: object, body: bytes = b"") -> InvalidEventError:
    with pytest.raises(InvalidEventError) as caught:
        ce.decode(headers, body)  # type: ignore[arg-type]
    return caught.value


@pytest.mark.parametrize(
    ("headers", "mode"),
    [
        ({"content-type": "application/cloudevents-batch+json"}, Mode.BATCH),
        ({"Content-Type": "Application/CloudEvents+JSON; charset=UTF-8"}, Mode.STRUCTURED),
        (STRUCTURED | BASE, Mode.STRUCTURED),
        (BASE, Mode.BINARY),
        ({"CE-SpecVersion": "1.0"}, Mode.BINARY),
        ({"content-type": "application/json", "ce-id": "1"}, None),
        ({}, None),
    ],
)
def test_mode(headers: dict[str, str], mode: Mode | None) -> None:
    assert ce.mode_of(headers) is mode


@pytest.mark.parametrize(
    ("drop", "add", "attribute", "rule"),
    [
        ("ce-id", {}, "id", Rule.MISSING),
        ("ce-source", {}, "source", Rule.MISSING),
        ("ce-type", {}, "type", Rule.MISSING),
        ("ce-specversion", {}, "specversion", Rule.MISSING),
        ("ce-id", {"ce-id": ""}, "id", Rule.MISSING),
        ("ce-id", {"ce-id": "  "}, "id", Rule.MISSING),
        ("", {"ce-specversion": "0.3"}, "specversion", Rule.FORMAT),
        ("", {"ce-specversion": "2.0"}, "specversion", Rule.FORMAT),
        ("", {"ce-time": "2026-01-01T00:00:00"}, "time", Rule.FORMAT),
        ("", {"ce-time": "2026-02-29T00:00:00Z"}, "time", Rule.FORMAT),
        ("", {"ce-time": "yesterday"}, "time", Rule.FORMAT),
        ("", {"ce-source": "1:2"}, "source", Rule.FORMAT),
        ("", {"ce-source": "a b"}, "source", Rule.FORMAT),
        ("", {"ce-source": "%zz"}, "source", Rule.FORMAT),
        ("", {"ce-dataschema": "/relative"}, "dataschema", Rule.FORMAT),
        ("", {"ce-datacontenttype": "a/b"}, "datacontenttype", Rule.NAME),
        ("", {"ce-data": "x"}, "data", Rule.NAME),
        ("", {"ce-my_ext": "x"}, "my_ext", Rule.NAME),
        ("", {"ce-my-ext": "x"}, "my-ext", Rule.NAME),
        ("", {"ce-subject": "a%00b"}, "subject", Rule.CHARACTER),
        ("", {"ce-subject": "%EF%BF%BE"}, "subject", Rule.CHARACTER),
        ("", {"ce-subject": "%C0%A0"}, "subject", Rule.ENCODING),
        ("", {"ce-subject": "\udcff"}, "subject", Rule.ENCODING),
        ("", {"ce-big": "x" * 20_000}, "big", Rule.TOO_LARGE),
        ("", {"content-type": "json"}, "datacontenttype", Rule.FORMAT),
    ],
)
def test_binary_refusals(drop: str, add: dict[str, str], attribute: str, rule: Rule) -> None:
    headers = {name: value for name, value in BASE.items() if name != drop} | add
    error = refused(headers)
    assert (error.attribute, error.rule) == (attribute, rule)


def test_a_message_without_any_attribute_is_no_event() -> None:
    error = refused({"content-type": "application/json"}, b"{}")
    assert (error.attribute, error.rule) == ("", Rule.NOT_AN_EVENT)


def test_duplicate_header_is_an_error_in_any_case() -> None:
    error = refused([*BASE.items(), ("CE-ID", "2")])
    assert (error.attribute, error.rule) == ("id", Rule.DUPLICATE)


@pytest.mark.parametrize(
    ("wire", "value"),
    [
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ("%e2%82%ac", "€"),
        ("a+b", "a+b"),
        ("100%", "100%"),
        ("100%zz", "100%zz"),
        ("%2541", "%41"),
        ('"quoted \\"x\\""', 'quoted "x"'),
        ("raw é", "raw é"),
        ("€".encode().decode("ascii", "surrogateescape"), "€"),
    ],
)
def test_header_values_are_decoded_once(wire: str, value: str) -> None:
    assert binary(ce_subject=wire).subject == value


def test_header_values_are_encoded() -> None:
    headers, _ = ce.encode_binary(Event("1", "/s", "t", subject='Euro € 😀"%+~'))
    assert headers["ce-subject"] == "Euro%20%E2%82%AC%20%F0%9F%98%80%22%25+~"


@pytest.mark.parametrize(
    "time",
    [
        "2026-01-01T00:00:00Z",
        "2026-01-01t00:00:00.123456789z",
        "2024-02-29T23:59:60+14:00",
        "0001-01-01T00:00:00Z",
        "0000-02-29T00:00:00-00:00",
    ],
)
def test_time_is_kept_as_written(time: str) -> None:
    assert structured(time=time).time == time == binary(ce_time=time).time


@pytest.mark.parametrize(
    "source",
    [
        "/s",
        "urn:a:b",
        "https://u@h:80/p?q#f",
        "mailto:a@b.c",
        "a/b:c",
        "#f",
        "?q",
        "//[::1]/x",
        "/%2520",
        "1-555-123",
    ],
)
def test_sources_accepted(source: str) -> None:
    assert binary(ce_source=source).source == source.replace("%25", "%")


def test_structured_wins_over_ce_headers() -> None:
    body = b'{"specversion":"1.0","id":"body","source":"/s","type":"t"}'
    assert ce.decode(BASE | STRUCTURED, body).id == "body"


@pytest.mark.parametrize(
    ("members", "data", "content_type"),
    [
        ({"data": "abc"}, b'"abc"', "application/json"),
        ({"data": None}, b"null", "application/json"),
        ({"data": [1, "a", True]}, b'[1, "a", true]', "application/json"),
        ({"data": True, "datacontenttype": "Application/JSON"}, b"true", "Application/JSON"),
        ({"data": {}, "datacontenttype": "application/vnd.a_b+json"}, b"{}", "application/vnd.a_b+json"),
        ({"data": "é", "datacontenttype": "text/plain"}, "é".encode(), "text/plain"),
        (
            {"data": "é", "datacontenttype": "text/plain; charset=latin-1"},
            b"\xe9",
            "text/plain; charset=latin-1",
        ),
        ({"data_base64": "AAE="}, b"\x00\x01", None),
        ({"data_base64": None, "data": 1}, b"1", "application/json"),
        ({"data_base64": "AA==", "data": None, "datacontenttype": "a/b"}, b"\x00", "a/b"),
        ({}, None, None),
    ],
)
def test_structured_data(members: dict[str, object], data: bytes | None, content_type: str | None) -> None:
    event = structured(**members)
    assert (event.data, event.datacontenttype) == (data, content_type)


def test_json_data_is_taken_verbatim() -> None:
    raw = '{"n": 123456789012345678901234567890, "f": 1.10, "k": 1, "k": 2}'
    body = '{"specversion":"1.0","id":"1","source":"/s","type":"t","data":' + raw + "}"
    assert ce.decode(STRUCTURED, body.encode()).data == raw.encode()


def test_structured_json_goes_out_binary_with_a_content_type() -> None:
    headers, body = ce.encode_binary(structured(data="abc"))
    assert (headers["content-type"], body) == ("application/json", b'"abc"')


@pytest.mark.parametrize(
    ("members", "attribute", "rule"),
    [
        ({"data": 1, "data_base64": "AA=="}, "data", Rule.DATA),
        ({"data_base64": "*"}, "data_base64", Rule.DATA),
        ({"data_base64": 7}, "data_base64", Rule.TYPE),
        ({"data": {"a": 1}, "datacontenttype": "text/plain"}, "data", Rule.DATA),
        ({"datacontenttype": 5}, "datacontenttype", Rule.TYPE),
        ({"id": 5}, "id", Rule.TYPE),
        ({"id": None}, "id", Rule.MISSING),
        ({"specversion": 1.0}, "specversion", Rule.FORMAT),
        ({"traceParent": "x"}, "traceParent", Rule.NAME),
        ({"ext": 2**31}, "ext", Rule.TYPE),
        ({"ext": 1.5}, "ext", Rule.TYPE),
        ({"ext": {}}, "ext", Rule.TYPE),
        ({"ext": "\ud800"}, "ext", Rule.CHARACTER),
        ({"subject": "x" * 1_000_000}, "subject", Rule.TOO_LARGE),
        ({f"e{n}": "x" for n in range(200)}, "", Rule.TOO_LARGE),
    ],
)
def test_structured_refusals(members: dict[str, object], attribute: str, rule: Rule) -> None:
    with pytest.raises(InvalidEventError) as caught:
        structured(**members)
    assert (caught.value.attribute, caught.value.rule) == (attribute, rule)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"null",
        b'{"a":1,}',
        b'{"a":1 "b":2}',
        b'{"a":1}}',
        b'{"a":NaN}',
        b'{"a":' + b"[" * 200_000,
        b'{"a":' + b"9" * 10_000 + b"}",
        b"\xff",
        b'\xef\xbb\xbf{"id":"1"}',
        b'{"id":"1","id":"2"}',
        b"{1:2}",
    ],
)
def test_malformed_json(body: bytes) -> None:
    refused(STRUCTURED, body)


def test_null_and_empty_attributes_are_absent() -> None:
    event = structured(subject=None, time=None, dataschema="", ext=None)
    assert event == Event("1", "/s", "t")


def test_empty_body_with_json_type_is_no_data() -> None:
    event = binary(b"", content_type="application/json; charset=utf-8")
    assert event.data is None
    assert event.datacontenttype == "application/json; charset=utf-8"


def test_binary_body_without_type_is_opaque() -> None:
    event = binary(b'{"a":1}')
    assert (event.data, event.datacontenttype) == (b'{"a":1}', None)
    _, body = ce.encode_structured(event)
    assert b"data_base64" in body
    assert ce.decode(STRUCTURED, body) == event


def test_typed_extensions_become_strings_in_binary_mode() -> None:
    event = structured(flag=True, count=-7, name="x")
    assert dict(event.extensions) == {"flag": True, "count": -7, "name": "x"}
    headers, body = ce.encode_binary(event)
    assert (headers["ce-flag"], headers["ce-count"]) == ("true", "-7")
    assert dict(ce.decode(headers, body).extensions) == {"flag": "true", "count": "-7", "name": "x"}


def test_long_extension_names_are_accepted() -> None:
    assert structured(**{"x" * 40: "1"}).extensions["x" * 40] == "1"


@pytest.mark.parametrize("content_type", ["application/cloudevents+avro", "application/cloudevents"])
def test_other_formats_are_unsupported(content_type: str) -> None:
    assert refused({"content-type": content_type}).rule is Rule.UNSUPPORTED


def test_structured_charset_must_be_utf8() -> None:
    assert (
        refused({"content-type": "application/cloudevents+json; charset=utf-16"}, b"{}").rule is Rule.ENCODING
    )


def test_limits() -> None:
    with pytest.raises(InvalidEventError) as caught:
        ce.decode(BASE, b"x" * 11, Limits(max_body_bytes=10))
    assert caught.value.rule is Rule.TOO_LARGE


BATCH = {"content-type": "application/cloudevents-batch+json"}


def test_batches() -> None:
    events = [Event("1", "/s", "t"), Event("2", "/s", "t", data=b"1", datacontenttype="application/json")]
    headers, body = ce.encode_batch(events)
    assert ce.decode_batch(headers, body) == events
    assert ce.decode_batch(BATCH, b" [ ] ") == []
    assert refused(headers, body).rule is Rule.BATCH


def test_batch_refusals() -> None:
    with pytest.raises(InvalidEventError, match="event 0 of the batch: required attribute source"):
        ce.decode_batch(BATCH, b'[{"specversion":"1.0","id":"1"}]')
    with pytest.raises(InvalidEventError, match="more than 1000 events"):
        ce.decode_batch(BATCH, b"[" + b",".join([b"{}"] * 100_000) + b"]")
    for body in (b"{}", b"[1]", b"[{},]", b"[{}"):
        with pytest.raises(InvalidEventError):
            ce.decode_batch(BATCH, body)


@pytest.mark.parametrize("name", ["data", "Upper", "da-sh", "un_der", "", "id", "specversion"])
def test_event_refuses_extension_names(name: str) -> None:
    with pytest.raises(InvalidEventError):
        Event("1", "/s", "t", extensions={name: "x"})


def test_hostile_media_type_is_refused_quickly() -> None:
    assert refused(BASE | {"content-type": "a/b" + ";  " * 2_000 + "\x01"}).rule is Rule.CHARACTER
    assert refused(BASE | {"content-type": "a/b" + ";  " * 2_000 + "@"}).rule is Rule.FORMAT


TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn"]), min_size=1, max_size=20).filter(
    str.strip
)
EVENTS = st.builds(
    Event,
    id=TEXT,
    source=st.sampled_from(["/s", "urn:x", "https://h/p"]),
    type=TEXT,
    data=st.none()
    | st.binary(min_size=1, max_size=40)
    | st.sampled_from([b"null", b'"x"', b'{"a":[1]}', b"1.0"]),
    datacontenttype=st.sampled_from(
        [None, "application/json", "text/plain", "image/png", "a/xml; charset=utf-8"]
    ),
    subject=st.none() | TEXT,
    time=st.none() | st.just("2026-01-01T00:00:00.000000001Z"),
    extensions=st.dictionaries(
        st.from_regex(r"e[a-z0-9]{1,8}", fullmatch=True),
        TEXT | st.booleans() | st.integers(-(2**31), 2**31 - 1),
        max_size=3,
    ),
)


@given(EVENTS)
def test_structured_round_trip(event: Event) -> None:
    assert ce.decode(*ce.encode_structured(event)) == event


@given(EVENTS)
def test_binary_round_trip_keeps_all_but_types(event: Event) -> None:
    headers, body = ce.encode_binary(event)
    assert all(value.isascii() and value.isprintable() for value in headers.values())
    back = ce.decode(headers, body)
    texts = {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in event.extensions.items()
    }
    assert dict(back.extensions) == texts
    assert back.attributes() == event.attributes() | texts
    assert back.data == event.data


@given(st.binary(max_size=200))
def test_any_body_is_an_event_or_a_refusal(body: bytes) -> None:
    for headers in (STRUCTURED, BATCH, BASE):
        try:
            ce.decode(headers, body)
        except InvalidEventError as error:
            assert str(error)
