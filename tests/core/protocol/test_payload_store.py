"""Addresses of the payload logger: what can be one, and the sentence for what cannot."""

from __future__ import annotations

import pytest

from wakeful.core.protocol import payload_store
from wakeful.core.protocol.payload_store import NO_BUCKET, NO_STORE


@pytest.mark.parametrize(
    "store",
    [
        "s3://logs",
        "s3://logs/",
        "s3://My_old.bucket-1/a/b",
        "s3://" + "b" * 63 + "/" + "p" * 511,
        "s3://logs/ümlaut",
        "file:///tmp/x",
    ],
)
def test_what_can_be_a_store(store: str) -> None:
    assert payload_store.store_problem(store) == ""


@pytest.mark.parametrize(
    ("store", "why"),
    [
        ("", NO_STORE),
        ("logs", NO_STORE),
        ("gs://b/x", NO_STORE),
        ("s3:/b/x", NO_STORE),
        ("S3//b", NO_STORE),
        ("s3://", NO_STORE),
        ("s3:///logs", NO_STORE),
        ("s3://[b/x", NO_STORE),
        ("s3://b\nucket/x", NO_STORE),
        ("s3://bucket/a b", NO_STORE),
        ("file:///", NO_STORE),
        ("file://logs/x", NO_STORE),
        ("s3://ab/x", NO_BUCKET),
        ("s3://" + "b" * 64, NO_BUCKET),
        ("s3://-bucket/x", NO_BUCKET),
        ("s3://bucket-/x", NO_BUCKET),
        ("s3://a..b/x", NO_BUCKET),
        ("s3://a.-b/x", NO_BUCKET),
        ("s3://127.0.0.1/x", NO_BUCKET),
        ("s3://bucket:9000/x", NO_BUCKET),
        ("s3://key:secret@bucket/x", NO_BUCKET),
        ("s3://bücket/x", NO_BUCKET),
        ("s3://bucket/x?y", "what stands after '?' or '#' would be left out of the prefix: take it out"),
        ("s3://bucket/x#", "what stands after '?' or '#' would be left out of the prefix: take it out"),
        ("s3://bucket/" + "ü" * 256, "the prefix has more than 512 bytes: an object's key would be too long"),
    ],
)
def test_what_cannot_be_a_store(store: str, why: str) -> None:
    assert payload_store.store_problem(store) == why


@pytest.mark.parametrize(
    ("path", "bucket", "store"),
    [
        ("s3://b/x", "other", "s3://b/x"),
        ("/x/", "b", "s3://b/x"),
        ("", "b", "s3://b/"),
        ("x", "", "x"),
    ],
)
def test_a_path_below_a_bucket(path: str, bucket: str, store: str) -> None:
    assert payload_store.path_of(path, bucket) == store


@pytest.mark.parametrize("url", ["http://h", "https://h:8080/x?y=1", "http://[::1]:80/", "http://a_b.svc/x"])
def test_what_can_be_a_receiver(url: str) -> None:
    assert payload_store.url_problem(url) == ""


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("h", "http://HOST/PATH"),
        ("ftp://h", "http://HOST/PATH"),
        ("http:///x", "http://HOST/PATH"),
        ("http://[", "http://HOST/PATH"),
        ("http://a b", "http://HOST/PATH"),
        ("http://h\n", "http://HOST/PATH"),
        ("http://h:0", "http://HOST/PATH"),
        ("http://h:99999", "port"),
        ("http://h:x", "port"),
    ],
)
def test_what_cannot_be_a_receiver(url: str, words: str) -> None:
    assert words in payload_store.url_problem(url)
