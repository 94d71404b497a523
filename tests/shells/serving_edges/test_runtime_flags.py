"""A runtime's own flags: fields of its dataclass beside those of every model server."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from wakeful.serving import settings


@dataclass(frozen=True, slots=True)
class Threaded(settings.Settings):
    """What a runtime with threads of its own takes."""

    nthread: int = 1


def test_a_runtime_adds_its_own_flags() -> None:
    assert settings.parse(["--nthread=3", "--http_port=1"], Threaded).settings == Threaded(
        nthread=3, http_port=1
    )
    assert settings.parse([], Threaded).settings.nthread == 1
    with pytest.raises(settings.SettingsError, match="nthread must be from 0"):
        settings.parse(["--nthread=-1"], Threaded)
    with pytest.raises(settings.SettingsError, match=r"known: .*nthread"):
        settings.parse(["--nope=0"], Threaded)


def test_where_a_runtime_has_no_such_flag_kserves_is_without_effect() -> None:
    assert settings.parse(["--nthread=3"]).ignored == ("nthread",)
