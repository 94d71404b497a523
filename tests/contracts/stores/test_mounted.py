"""Credentials from mounted Secrets: recognised by their keys, told when they cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from storage import mounted
from storage.errors import StorageError


def secrets(root: Path, **found: dict[str, str]) -> dict[str, str]:
    for name, keys in found.items():
        (root / name).mkdir()
        for key, value in keys.items():
            (root / name / key).write_text(value)
    return {mounted.FOLDER: str(root)}


@pytest.mark.parametrize(
    ("keys", "variables"),
    [
        (
            {"AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": "s3cret\n", "S3_ENDPOINT": "s3:9000"},
            {"AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": "s3cret", "S3_ENDPOINT": "s3:9000"},
        ),
        (
            {"awsAccessKeyID": "me", "awsSecretAccessKey": "s3cret"},
            {"AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": "s3cret"},
        ),
        ({"AZ_CLIENT_ID": "c", "AZ_TENANT_ID": "t"}, {"AZURE_CLIENT_ID": "c", "AZURE_TENANT_ID": "t"}),
        ({"https-host": "h.local", "headers": '{"a": "b"}'}, {"h.local-headers": '{"a": "b"}'}),
        ({"HF_TOKEN": "hf", "other": "x"}, {"HF_TOKEN": "hf"}),
        ({"other": "x"}, {}),
    ],
)
def test_a_secret_is_recognised(tmp_path: Path, keys: dict[str, str], variables: dict[str, str]) -> None:
    environ = {"HOME": "/", **secrets(tmp_path, one=keys)}
    assert mounted.environment(environ) == environ | variables


def test_a_file_is_pointed_to_and_the_first_kind_wins(tmp_path: Path) -> None:
    environ = secrets(tmp_path, gcs={mounted.GCS_FILE: "{}"}, both={"HF_TOKEN": "x", "AZURE_CLIENT_ID": "c"})
    found = mounted.environment(environ)
    assert found["GOOGLE_APPLICATION_CREDENTIALS"] == str(tmp_path / "gcs" / mounted.GCS_FILE)
    assert "HF_TOKEN" not in found


def test_kubernetes_own_files_of_a_volume_are_no_keys(tmp_path: Path) -> None:
    """A Secret volume has ``..data`` links beside the keys; binary nonsense is told by name only."""
    environ = secrets(tmp_path, one={"HF_TOKEN": "x"})
    (tmp_path / "one" / "..data").mkdir()
    assert mounted.environment(environ)["HF_TOKEN"] == "x"
    (tmp_path / "one" / "HF_TOKEN").write_bytes(b"\xff\xfe")
    with pytest.raises(StorageError, match="key HF_TOKEN of the mounted Secret one is not readable text"):
        mounted.environment(environ)


def test_without_mounts_nothing_changes_and_a_missing_folder_is_told(tmp_path: Path) -> None:
    assert mounted.environment({"A": "b"}) == {"A": "b"}
    assert mounted.hint({"AWS_SECRET_ACCESS_KEY": "x"}) == ""
    with pytest.raises(StorageError, match="cannot be read"):
        mounted.environment({mounted.FOLDER: str(tmp_path / "gone")})


def test_an_endpoint_that_only_an_annotation_said_is_hinted_at(tmp_path: Path) -> None:
    environ = mounted.environment(secrets(tmp_path, s3={"AWS_SECRET_ACCESS_KEY": "x"}))
    assert "the Secrets s3 are mounted" in mounted.hint(environ)
    assert mounted.hint({**environ, "S3_ENDPOINT": "e"}) == ""


def test_a_storage_spec_is_resolved() -> None:
    def resolved(config: object, **override: str) -> str:
        environ = {"STORAGE_CONFIG": json.dumps(config), "STORAGE_OVERRIDE_CONFIG": json.dumps(override)}
        return mounted.resolve("storage-spec://a/b", environ)

    assert resolved({"type": "s3", "bucket": "x"}) == "s3://x/a/b"
    assert resolved({"type": "s3", "bucket": "x"}, bucket="y") == "s3://y/a/b"
    assert resolved({"type": "hdfs"}) == "hdfs://a/b"
    assert mounted.resolve("s3://b/m", {}) == "s3://b/m"
    for config, words in (
        ({}, "no type"),
        ({"type": "ftp"}, "type 'ftp'"),
        ({"type": "s3"}, "needs a bucket"),
    ):
        with pytest.raises(StorageError, match=words):
            resolved(config)
    with pytest.raises(StorageError, match="must be a JSON object"):
        resolved([])
