"""Containers of one pod on one machine: each listens on a loopback port of its own, and finds the others at theirs."""

from __future__ import annotations

from typing import Any

import pytest

from standalone.node import addresses

PORTS = {8080: 20001, 8085: 20002}


@pytest.mark.parametrize(
    ("words", "port"),
    [
        ([], None),
        (["--http_port=8085"], 8085),
        (["--http_port=8080", "--http-port", "8085"], 8085),
        (["--http_port"], None),
        (["--http_port=x"], None),
        (["--http_port=99999"], None),
        (["--http_portal=1"], None),
    ],
)
def test_where_a_model_server_is_told_to_listen(words: list[str], port: int | None) -> None:
    assert addresses.listens_on(words) == port
    container: dict[str, Any] = {"args": words}
    assert addresses.wanted(container) == ({port} if port else set())


@pytest.mark.parametrize(
    ("text", "rewritten"),
    [
        ("--predictor_host=localhost:8085", "--predictor_host=localhost:20002"),
        ("http://127.0.0.1:8080/v1,localhost:8085", "http://127.0.0.1:20001/v1,localhost:20002"),
        ("localhost:80850", "localhost:80850"),
        ("localhost:9000", "localhost:9000"),
        ("mylocalhost:8080", "mylocalhost:8080"),
        ("10.127.0.0.1:8080", "10.127.0.0.1:8080"),
    ],
)
def test_a_neighbour_is_found_at_its_loopback_port(text: str, rewritten: str) -> None:
    assert addresses.neighbours(text, PORTS) == rewritten
