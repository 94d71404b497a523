"""Mount paths in texts: token boundaries, longest first, one pass; sub-paths stay inside."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standalone.node import rewriting

MOUNTS = {"/mnt/models": "/D/v", "/mnt/models/deep/": "/D/deep", "/etc/conf": "/mnt/models"}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("/mnt/models", "/D/v"),
        ("--model_dir=/mnt/models", "--model_dir=/D/v"),
        ("/mnt/models/a/b.joblib", "/D/v/a/b.joblib"),
        ("/mnt/models/", "/D/v/"),
        ("file:///mnt/models/x", "file:///D/v/x"),
        ("/mnt/models:/mnt/models/deep/x", "/D/v:/D/deep/x"),
        ('{"dir": "/mnt/models"}', '{"dir": "/D/v"}'),
        ("/etc/conf/k", "/mnt/models/k"),
        ("/mnt/models-old", "/mnt/models-old"),
        ("/mnt/models.bak", "/mnt/models.bak"),
        ("/mnt/models2", "/mnt/models2"),
        ("/data/mnt/models", "/data/mnt/models"),
        ("pvc://mnt/models", "pvc://mnt/models"),
        ("s3://bucket/mnt/models", "s3://bucket/mnt/models"),
        ("../mnt/models", "../mnt/models"),
        ("", ""),
    ],
)
def test_rewrites(text: str, wanted: str) -> None:
    assert rewriting.build(MOUNTS)(text) == wanted


@given(st.text(alphabet="abc /=:._-mntodels", max_size=60))
def test_text_without_a_mount_path_is_unchanged(text: str) -> None:
    if "/mnt/models" not in text and "/etc/conf" not in text:
        assert rewriting.build(MOUNTS)(text) == text


@pytest.mark.parametrize("path", ["relative", "/", "//", ""])
def test_bad_mount_paths_are_refused(path: str) -> None:
    with pytest.raises(ValueError, match="mountPath"):
        rewriting.build({path: "/x"})


def test_sub_path_through_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "link").symlink_to(tmp_path)
    (tmp_path / "v" / "in").symlink_to("sub")
    (tmp_path / "v" / "sub").mkdir()
    with pytest.raises(ValueError, match="symbolic link"):
        rewriting.inside(tmp_path / "v", "link/x")
    assert rewriting.inside(tmp_path / "v", "in") == tmp_path / "v" / "sub"


@pytest.mark.parametrize("sub", ["..", "a/../b", "/abs"])
def test_sub_path_outside_is_refused(tmp_path: Path, sub: str) -> None:
    with pytest.raises(ValueError, match="subPath"):
        rewriting.inside(tmp_path, sub)
