"""``python -m runtimes.vllm`` as a process, in front of a stand-in for vLLM: answers, refusals, drain, deaths."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
from waiting_rig import until

FAKE = Path(__file__).parent / "fake_vllm.py"
START_S = 30.0


@dataclass
class Front:
    """The server's process, and clients to it."""

    process: asyncio.subprocess.Process
    folder: Path
    client: openai.AsyncOpenAI
    session: aiohttp.ClientSession

    def record(self) -> list[str]:
        place = self.folder / "record"
        return place.read_text().splitlines() if place.exists() else []

    def engine(self) -> list[int]:
        """The processes below the server."""
        found = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return [int(pid) for place in found for pid in place.read_text().split()]


Begin = Callable[..., Awaitable[Front]]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def program(folder: Path) -> str:
    place = folder / "vllm"
    place.write_text(f'#!/bin/sh\nexec {sys.executable} {FAKE} "$@"\n')
    place.chmod(0o755)
    return str(place)


def long_place(folder: Path) -> Path:
    """A temporary folder whose path is as long as a pod's: too long for a socket in it."""
    place = folder / ("t" * 60)
    place.mkdir(exist_ok=True)
    return place


@asynccontextmanager
async def fronted(folder: Path, *flags: str) -> AsyncIterator[Front]:
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "runtimes.vllm", "--served-model-name", "m", "adapter", "--model", str(folder),
        f"--port={port}", "--host=127.0.0.1", f"--vllm_command={program(folder)}", "--max-model-len", "77", *flags,
        env={**os.environ, "WAKEFUL_TERMINATION_LOG": str(folder / "termination"), "TMPDIR": str(long_place(folder))},
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    base = f"http://127.0.0.1:{port}"
    client = openai.AsyncOpenAI(base_url=base + "/openai/v1", api_key="none", max_retries=0, timeout=15)
    async with aiohttp.ClientSession(base, timeout=aiohttp.ClientTimeout(total=15)) as session:
        try:
            yield Front(process, folder, client, session)
        finally:
            await client.close()
            if process.returncode is None:
                process.terminate()
            async with asyncio.timeout(START_S):
                await process.wait()


@pytest.fixture
async def begin(tmp_path: Path) -> AsyncIterator[Begin]:
    async with AsyncExitStack() as stack:

        async def start(*flags: str) -> Front:
            front = await stack.enter_async_context(fronted(tmp_path, *flags))

            async def is_ready() -> bool:
                assert front.process.returncode is None, (tmp_path / "termination").read_text()
                try:
                    async with front.session.get("/v2/health/ready") as response:
                        return response.status == 200
                except aiohttp.ClientError:
                    return False

            await until(is_ready, START_S, pause_s=0.05)
            return front

        yield start


def asked(text: str, **members: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], **members}


async def test_answers_streams_metrics_and_names(begin: Begin) -> None:
    front = await begin()
    whole = await front.client.chat.completions.create(**asked("hello"))
    assert whole.choices[0].message.content == "hello"
    stream = await front.client.chat.completions.create(**asked("count 500", model="adapter", stream=True))
    texts = [event.choices[0].delta.content async for event in stream]
    assert texts == [f"{number} " for number in range(500)]
    assert len(front.record()[0]) + len("/") + 36 < 107, "vLLM's own sockets have a UUID behind this folder"
    sent = json.loads(front.record()[-1])
    assert sent["model"] == "adapter" and sent["stream"] is True
    async with front.session.get("/metrics", headers={"Accept": "application/openmetrics-text"}) as response:
        text = await response.text()
    assert 'vllm:num_requests_running{engine="0"} 0.0' in text
    assert "wakeful_openai_inter_token_seconds_bucket" in text and "\npython_info 1.0" not in text
    assert [model.id async for model in front.client.models.list()] == ["m", "adapter"]


REFUSALS = (
    (400, 400, True),
    (422, 400, True),
    (404, 404, True),
    (429, 503, True),
    (503, 503, True),
    (500, 500, True),
)
"""Status of the engine, status of the answer, whether its own words are passed on."""


async def test_refusals_in_our_words(begin: Begin) -> None:
    front = await begin()
    for status, answered, is_told in REFUSALS:
        for stream in (False, True):
            with pytest.raises(openai.APIStatusError) as caught:
                await front.client.chat.completions.create(**asked(f"status {status}", stream=stream))
            assert caught.value.status_code == answered
            assert ("the engine's own words" in str(caught.value)) is is_told
            assert caught.value.param == ("top_p" if answered == 400 else None)


async def test_tools_that_must_be_called_are_strict_and_routes_for_development_are_closed(
    begin: Begin,
) -> None:
    front = await begin()
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    await front.client.chat.completions.create(**asked("hello", tools=[tool], tool_choice="required"))
    assert json.loads(front.record()[-1])["tools"][0]["function"]["strict"] is True
    await front.client.chat.completions.create(**asked("hello", tools=[tool]))
    assert "strict" not in json.loads(front.record()[-1])["tools"][0]["function"]
    count = len(front.record())
    for path in (
        "/sleep",
        "/wake_up",
        "/reset_prefix_cache",
        "/v1/load_lora_adapter",
        "/tokenize",
        "/invocations",
    ):
        async with front.session.post(path, json={}) as response:
            assert response.status == 404
    for members in ({"chat_template": "x"}, {"prompt_embeds": "x"}, {"n": 10_000}, {"max_tokens": 2**31}):
        with pytest.raises(openai.BadRequestError):
            await front.client.chat.completions.create(**asked("hello", extra_body=members))
    assert len(front.record()) == count


async def test_a_reader_that_leaves_is_told_to_the_engine(begin: Begin) -> None:
    front = await begin()
    response = await front.session.post("/v1/chat/completions", json=asked("slow 1000", stream=True))
    await response.content.readline()
    response.close()
    await until(lambda: front.record()[-1] == "left")


async def test_a_drain_lets_streams_end_and_the_engine_after_them(begin: Begin) -> None:
    front = await begin()
    response = await front.session.post("/v1/chat/completions", json=asked("slow 20", stream=True))
    await response.content.readline()
    front.process.terminate()

    async def is_refused() -> bool:
        async with front.session.get("/v2/health/ready") as answer:
            return answer.status == 503

    await until(is_refused)
    text = await response.text()
    assert '"19 "' in text and text.endswith("data: [DONE]\n\n")
    assert await front.process.wait() == 0
    assert front.record()[-1] == "stopped"


async def test_an_engine_that_dies_ends_the_server_with_its_words(begin: Begin) -> None:
    front = await begin()
    stream = await front.client.chat.completions.create(**asked("die 10", stream=True))
    with pytest.raises(openai.APIError, match="vLLM"):
        async for _ in stream:
            pass
    async with asyncio.timeout(START_S):
        assert await front.process.wait() == 1
    assert "vLLM ended with signal SIGKILL" in (front.folder / "termination").read_text()


async def test_a_server_that_is_killed_leaves_no_engine(begin: Begin) -> None:
    front = await begin()
    (engine,) = front.engine()
    os.kill(front.process.pid, signal.SIGKILL)
    await front.process.wait()
    await until(
        lambda: not Path(f"/proc/{engine}").exists() or "Z" in Path(f"/proc/{engine}/stat").read_text()
    )


async def test_a_failed_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    async with fronted(tmp_path) as front, asyncio.timeout(START_S):
        assert await front.process.wait() == 1
    assert "made of cheese" in (tmp_path / "termination").read_text()
