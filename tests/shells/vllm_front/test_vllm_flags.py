"""Which flags are ours, which are vLLM's, which are nobody's."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from runtimes.huggingface import settings as huggingface
from runtimes.vllm import flags, process
from wakeful.serving.model import LoadError
from wakeful.serving.settings import SettingsError


def test_kserves_command_line_is_understood() -> None:
    parsed = flags.parse(
        [
            "--port=8080",
            "--served-model-name=m",
            "--model=/mnt/models",
            "--max-model-len",
            "128",
            "--enable-auto-tool-choice",
            "--lora-modules",
            "a=/x",
            "b=/y",
            "--drain_s",
            "50",
        ]
    )
    assert (parsed.settings.http_port, parsed.settings.model_name) == (8080, "m")
    assert parsed.settings.drain_s == 50
    made = flags.command(parsed, ["vllm"], "/s")
    assert made[:3] == ["vllm", "serve", "/mnt/models"]
    assert made[made.index("--max-model-len") :] == [
        "--max-model-len", "128", "--enable-auto-tool-choice", "--lora-modules", "a=/x", "b=/y",
    ]  # fmt: skip
    assert "--trust-remote-code" not in made


def test_the_model_may_stand_alone_and_have_several_names() -> None:
    parsed = flags.parse(["/models/x", "--served-model-name", "a", "b", "--trust-remote-code"])
    assert (parsed.settings.model_dir, parsed.settings.model_name, parsed.aliases) == (
        "/models/x",
        "a",
        ("b",),
    )
    assert "--trust-remote-code" in flags.command(parsed, ["vllm"], "/s")


@pytest.mark.parametrize("name", sorted(flags.REFUSED))
def test_what_would_open_vllm_is_refused(name: str) -> None:
    for spelled in (name, name.replace("_", "-")):
        with pytest.raises(SettingsError, match="refused"):
            flags.parse([f"--{spelled}=x"])


def test_the_engine_hears_nothing_that_opens_it() -> None:
    made = process.environment(
        {"VLLM_SERVER_DEV_MODE": "1", "VLLM_API_KEY": "k", "HOME": "/"}, "/no/such/folder"
    )
    assert made["VLLM_SERVER_DEV_MODE"] == "0"
    assert "VLLM_API_KEY" not in made and made["HOME"] == "/"
    assert "HF_HUB_OFFLINE" not in made


def test_the_program_is_found_or_its_absence_is_one_sentence(tmp_path: Path) -> None:
    environ = {"PATH": "", "WAKEFUL_LLM_ENV": str(tmp_path)}
    with pytest.raises(LoadError, match="hack/env llm"):
        process.program("", environ)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "vllm").touch()
    assert process.program("", environ) == [str(tmp_path / "bin" / "vllm")]
    assert process.program("/my/vllm", environ) == ["/my/vllm"]


def test_a_module_beside_is_the_program_where_there_is_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in our image, whose only program is Python."""
    (tmp_path / "vllm").mkdir()
    (tmp_path / "vllm" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    made = process.program("", {"PATH": "", "WAKEFUL_LLM_ENV": str(tmp_path)})
    assert made == [sys.executable, "-P", "-m", "vllm.entrypoints.cli.main"]


def test_nothing_is_compiled_where_there_is_no_compiler(tmp_path: Path) -> None:
    compiler = tmp_path / "g++"
    compiler.touch(mode=0o755)
    for environ, can in (
        ({"PATH": ""}, False),
        ({"PATH": str(tmp_path)}, True),
        ({"PATH": "", "CXX": str(compiler)}, True),
    ):
        assert process.can_compile(environ) == can
        assert ("TORCH_COMPILE_DISABLE" in process.environment(environ, "/no/such/folder")) != can


def test_kserves_hugging_face_flags_in_vllms_words() -> None:
    words = huggingface.spelled_out(
        [
            "--model_id=org/m",
            "--max_length",
            "64",
            "--trust_remote_code",
            "--return_probabilities",
            "--task",
            "text_generation",
            "--backend=auto",
            "--dtype=float16",
            "--max-num-seqs",
            "4",
        ]
    )
    assert huggingface.for_vllm(words) == [
        "--model_dir=org/m", "--max-model-len", "64", "--trust_remote_code=true", "--dtype=float16", "--max-num-seqs", "4",
    ]  # fmt: skip
    own = huggingface.own(words)
    assert (own.model_id, own.task, own.trust_remote_code) == ("org/m", "text_generation", True)


@pytest.mark.parametrize(
    ("printed", "said"),
    [
        (
            "RuntimeError: too little memory\nRuntimeError: failed. See root cause above.\n",
            "RuntimeError: too little memory",
        ),
        ("ValueError: first\nraise error\nValueError: last\nbye\n", "ValueError: last"),
        ("some error of mine\nbye\n", "some error of mine"),
        ("bye\n", "bye"),
        ("", "it printed nothing"),
    ],
    ids=["root-cause", "last", "unnamed", "no-error", "silent"],
)
async def test_the_sentence_about_its_end_is_the_one_that_says_why(printed: str, said: str) -> None:
    child = process.VllmProcess()
    await child.start(
        [sys.executable, "-c", f"print({printed!r}, end=''); raise SystemExit(3)"], dict(os.environ)
    )
    assert await child.ended() == f"vLLM ended with status 3: {said}"
    await child.stop()
