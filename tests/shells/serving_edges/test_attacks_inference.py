"""Attack checklist 11 to 16 on a real scikit-learn model: JSON, V1, V2 and binary bodies that mean harm.

Each gets the status in its row, within seconds, with a text that names the place and nothing of the server's inside.
"""

from __future__ import annotations

import io
import json
import re
import struct
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import iris_rig
import pytest
from edges_rig import Client, running

from runtimes.sklearn.model import SklearnModel

V1, V2 = "/v1/models/iris:predict", "/v2/models/iris/infer"
ROW = [5.1, 3.5, 1.4, 0.2]
PATIENCE_S = 10.0
INNER = re.compile(r"Traceback|File \"|/work/|site-packages|\.py\b|0x[0-9a-f]{6,}")
"""What an error text may not hold: places of the server's code."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return iris_rig.put(tmp_path_factory.mktemp("iris"))


@pytest.fixture
async def client(folder: Path) -> AsyncIterator[Client]:
    async with running([SklearnModel("iris", folder, {})]) as found:
        yield found


async def ask(
    client: Client, path: str, body: bytes, headers: dict[str, str] | None = None
) -> tuple[int, str]:
    began = time.monotonic()
    sent = {"Content-Type": "application/json", **(headers or {})}
    status, answer, _ = await client.ask("POST", path, data=io.BytesIO(body), headers=sent)
    assert time.monotonic() - began < PATIENCE_S
    text = json.dumps(answer) if not isinstance(answer, bytes) else answer.decode()
    if status != 200:
        assert not INNER.search(text), text
        assert len(text) < 2000
    assert (await client.ask("POST", V1, json={"instances": [ROW]}))[:2] == (200, {"predictions": [0]})
    return status, text


def collisions(count: int) -> bytes:
    """Keys whose hashes collide where hashes are not seeded: multiples of 2^61 - 1 as texts and numbers."""
    return json.dumps(
        {**{str(number * (2**61 - 1)): 0 for number in range(count)}, "instances": [ROW]}
    ).encode()


def rows(text: str) -> bytes:
    return f'{{"instances": [[{text}, 3.5, 1.4, 0.2]]}}'.encode()


JSON_BODIES = [
    (b"[" * 100_000 + b"]" * 100_000, 400),
    (b'{"instances": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400),
    (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, 400),
    (b'{"instances": ' + b"[" * 500 + b"1" + b"]" * 500 + b"}", 400),
    (json.dumps({**{f"k{number}": 0 for number in range(300_000)}, "instances": [ROW]}).encode(), 200),
    (collisions(100_000), 200),
    (rows("1" * 1_000_000), 400),
    (rows("-" + "9" * 400), 400),
    (rows("NaN"), 400),
    (rows("Infinity"), 400),
    (rows("1e400"), 400),
    (rows("-1e999999999999"), 400),
    (rows("1e-400"), 200),
    (rows('"\\ud800"'), 400),
    (rows("true"), 200),
    (rows('"5.1"'), 200),
    (rows("[5.1]"), 400),
    (rows("{}"), 400),
    (rows("null"), 400),
    (b'{"instances": [[1,2,3,4]], "instances": [[5.1,3.5,1.4,0.2]]}', 200),
    (b'{"instances": [[1,2,3,4],[1,2,3]]}', 400),
    (b'{"instances": [[1,2,3,4],[]]}', 400),
    (b'{"instances": [[]]}', 400),
    (b'{"instances": []}', 400),
    (b'{"instances": {}}', 400),
    (b'{"instances": null}', 400),
    (b'{"instances": "aaaa"}', 400),
    (b"\xff\xfe{\x00}\x00", 400),
    (b'\xef\xbb\xbf{"instances": [[5.1,3.5,1.4,0.2]]}', 400),
    (b"", 400),
    (b"null", 400),
    (b'{"instances": [[5.1,3.5,1.4,0.2]]} x', 400),
    (b'{"instances": [[5.1,3.5,1.4,0.2]]', 400),
    (b'{"__proto__": {"a": 1}, "__class__": "os.system", "instances": [[5.1,3.5,1.4,0.2]]}', 200),
]


async def test_json_and_v1(client: Client) -> None:
    for row, (body, status) in enumerate(JSON_BODIES):
        assert (row, (await ask(client, V1, body))[0]) == (row, status)


def tensor(**changes: Any) -> dict[str, Any]:
    return {"name": "input-0", "shape": [1, 4], "datatype": "FP64", "data": ROW, **changes}


TENSORS: list[tuple[dict[str, Any], int]] = [
    ({"shape": [4, 1]}, 400), ({"shape": [2, 4]}, 400), ({"shape": [-1, 4]}, 400), ({"shape": [0, 4], "data": []}, 400),
    ({"shape": [2**63, 4]}, 400), ({"shape": [2**64, 4]}, 400), ({"shape": [2**32, 2**32]}, 400), ({"shape": []}, 400),
    ({"shape": [1.5, 4]}, 400), ({"shape": "1,4"}, 422), ({"shape": [1] * 10_000}, 400), ({"shape": None}, 422),
    ({"shape": [10**400, 4]}, 400), ({"shape": [True, 4]}, 400), ({"data": [[1, 2], [3]]}, 400), ({"data": [ROW, ROW]}, 400),
    ({"data": {}}, 422), ({"data": "AAAA"}, 422), ({"data": [None] * 4}, 400), ({"data": ["1", "2", "3", "4"]}, 400),
    ({"data": [[[[[[1]]]]]]}, 400), ({"datatype": "O"}, 400), ({"datatype": "object"}, 400), ({"datatype": "FP8"}, 400),
    ({"datatype": "FP16"}, 400), ({"datatype": None}, 422), ({"datatype": "INT32"}, 400), ({"datatype": "BOOL"}, 400),
    ({"datatype": "UINT8", "data": [256, 1, 1, 1]}, 400), ({"datatype": "INT64", "data": [2**63, 1, 1, 1]}, 400),
    ({"name": 1}, 422), ({"name": "x" * 1_000_000}, 200), ({"parameters": []}, 422),
    ({"parameters": {"__reduce__": "os.system", "binary_data_size": 32}}, 200),
    ({"parameters": {"shared_memory_region": "r", "shared_memory_byte_size": 32}}, 400),
    ({"parameters": {"shared_memory_region": "../../dev/shm/x"}, "data": None}, 400),
]  # fmt: skip


async def test_v2_json(client: Client) -> None:
    for row, (changes, status) in enumerate(TENSORS):
        body = json.dumps(
            {"inputs": [{k: v for k, v in tensor(**changes).items() if v is not None}]}
        ).encode()
        found, text = await ask(client, V2, body)
        assert found == status or {found, status} == {400, 422}, (row, text)


RAW = struct.pack("<4d", *ROW)


def binary(size: Any, raw: bytes = RAW, **changes: Any) -> tuple[bytes, int]:
    head = {"inputs": [{**tensor(**changes), "parameters": {"binary_data_size": size}}]}
    del head["inputs"][0]["data"]
    text = json.dumps(head).encode()
    return text + raw, len(text)


BINARY: list[tuple[Any, dict[str, Any], str | None, int]] = [
    (32, {}, None, 200), (33, {}, None, 400), (31, {}, None, 400), (-32, {}, None, 400), (2**63, {}, None, 400),
    (10**400, {}, None, 400), ("32", {}, None, 400), (32.0, {}, None, 400), (True, {}, None, 400), (0, {}, None, 400),
    (32, {"raw": RAW * 2}, None, 400), (32, {"raw": RAW[:-1]}, None, 400), (32, {}, "", 400), (32, {}, "-1", 400),
    (32, {}, "99999999", 400), (32, {}, "1e2", 400), (32, {}, "0", 400), (32, {}, "10", 400), (32, {}, "9" * 5000, 400),
    (31, {"raw": RAW[:-1], "datatype": "FP16"}, None, 400),
    (8, {"raw": struct.pack("<I4s", 2**32 - 1, b"aaaa"), "datatype": "BYTES", "shape": [1, 1]}, None, 400),
    (3, {"raw": b"\1\0\0", "datatype": "BYTES", "shape": [1, 1]}, None, 400),
    (40_000_000, {"raw": b"\0\0\0\0" * 10_000_000, "datatype": "BYTES", "shape": [10_000_000]}, None, 400),
    (32, {"datatype": "O"}, None, 400), (32, {"shape": [2**61, 4]}, None, 400),
]  # fmt: skip


async def test_v2_binary(client: Client) -> None:
    for row, (size, changes, length, status) in enumerate(BINARY):
        body, right = binary(
            size, changes.get("raw", RAW), **{k: v for k, v in changes.items() if k != "raw"}
        )
        headers = {"Inference-Header-Content-Length": str(right) if length is None else length}
        assert (row, (await ask(client, V2, body, headers))[0]) == (row, status)


async def test_a_missing_header_length_is_no_binary_request(client: Client) -> None:
    body, _ = binary(32)
    assert (await ask(client, V2, body))[0] == 400
    assert (await ask(client, V2, body, {"Content-Type": "application/octet-stream"}))[0] == 400


@pytest.mark.parametrize(
    "path",
    [
        "/v2/systemsharedmemory/region/r/register", "/v2/cudasharedmemory/region/r/register", "/v2/systemsharedmemory/status",
        "/v2/logging", "/v2/trace/setting", "/v2/repository/models/iris/load", "/v2/repository/models/iris/unload",
        "/v2/repository/models/..%2f..%2fetc/load",
    ],
)  # fmt: skip
async def test_what_changes_the_server_does_not_exist_or_is_off(client: Client, path: str) -> None:
    status, text = await ask(client, path, b'{"key": "/x", "byte_size": 1}')
    assert status in (404, 501), text


async def test_no_array_of_the_request_is_ever_unpickled(client: Client, tmp_path: Path) -> None:
    """A pickle where values are expected stays bytes: as V1, as BYTES, as raw octets."""
    mark = tmp_path / "mark"
    pickled = b"cos\nsystem\n(S'touch " + str(mark).encode() + b"'\ntR."
    element = struct.pack("<I", len(pickled)) + pickled
    body, right = binary(len(element), element, datatype="BYTES", shape=[1, 1])
    headers = {"Inference-Header-Content-Length": str(right)}
    assert (await ask(client, V2, body, headers))[0] == 400
    for kind in ("application/octet-stream", "application/x-pickle", "application/x-npy"):
        assert (await ask(client, V1, pickled, {"Content-Type": kind}))[0] == 400
    assert not mark.exists()
