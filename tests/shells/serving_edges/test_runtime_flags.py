"""A runtime's own flags: fields of its dataclass beside those of every model server."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, fields

import pytest

from wakeful.serving import flag_help, settings


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


@dataclass(frozen=True, slots=True)
class Documented(settings.Settings):
    """What a runtime with one flag of its own takes."""

    depth: int = 7
    """How deep. ``0`` is
    not deep."""


def test_help_tells_every_flag_with_its_default_and_what_it_does() -> None:
    told = flag_help.text(Documented, "python -m runtimes.deep", "See also the sea.")
    assert told.startswith("usage: python -m runtimes.deep [--FLAG=VALUE ...]\n")
    assert "  --depth=7\n      How deep. 0 is not deep.\n" in told
    assert told.endswith("\n\nSee also the sea.")
    for field in fields(Documented):
        assert f"  --{field.name}=" in told
    assert max(map(len, told.splitlines())) <= flag_help.WIDTH


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_whoever_asks_for_help_gets_it_and_no_server(flag: str) -> None:
    asked = subprocess.run(
        [sys.executable, "-m", "runtimes.sklearn", "--model_dir=/nowhere", flag],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (asked.returncode, asked.stderr) == (0, "")
    assert asked.stdout.startswith("usage: python -m runtimes.sklearn ")


@pytest.mark.parametrize("flag", ["--workers=1_0", "--drain_s=1_0"])
def test_numbers_are_written_without_underscores(flag: str) -> None:
    with pytest.raises(settings.SettingsError, match="takes a"):
        settings.parse([flag])


@pytest.mark.parametrize("flags", [["--workers=1001"], ["--workers"], ["--http_port", "70000"]])
def test_kserves_parser_has_the_bounds_of_the_flags(
    flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    from wakeful.kserve import model_server

    with pytest.raises(SystemExit):
        model_server.parser.parse_args(flags)
    assert flags[0].partition("=")[0] in capsys.readouterr().err
    assert model_server.parser.parse_args(["--workers", "3", "--enable_grpc", "false"]).workers == 3


def test_what_a_script_gives_kserves_server_is_within_bounds_too(capfd: pytest.CaptureFixture[str]) -> None:
    from wakeful.kserve import model_server

    with pytest.raises(SystemExit) as ended:
        model_server.ModelServer(workers=1_000_000).start([])
    assert ended.value.code == 2
    assert "--workers must be from 1 to 1000" in capfd.readouterr().err
