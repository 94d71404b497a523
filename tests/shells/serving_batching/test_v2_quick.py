"""Binary and JSON V2 requests, good and bad, get byte for byte what the general way would have answered them.

The general way is ``http_v2.decode``, ``Model.predict`` for this request alone, and a reply made of its tensors. Requests
with equal heads share what is kept of heads, as they do behind a wire; all of a round are asked before one is answered.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wakeful.core.errors import FailureError
from wakeful.core.protocol import arrays
from wakeful.serving import http_replies, http_v2
from wakeful.serving.exchange import Headers, Reply, Request
from wakeful.serving.model import Context
from wakeful.serving.server import Server
from wakeful.serving.settings import Settings
from wakeful.serving.tabular import TabularModel

ROUNDS = 2
VALUES = [0.0, 1.0, 2.5, -3.0, float("nan"), float("inf"), 100.0]
PARAMETERS = st.sampled_from(
    [
        {},
        {"binary_data": True},
        {"binary_data": True},
        {"binary_data": False},
        {"binary_data": 1},
        {"binary_data": True, "a": 1},
    ]
)
OUTPUTS = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from(["output-0"] * 5 + ["no"])}, optional={"parameters": PARAMETERS}
    ),
    max_size=2,
)
MORE = st.fixed_dictionaries(
    {},
    optional={
        "outputs": OUTPUTS,
        "parameters": st.sampled_from([{}, {"binary_data_output": True}, {"binary_data_output": "yes"}, {"a": [1]}]),
    },
)  # fmt: skip


class Table(TabularModel):
    """Twice the numbers, in the datatype that came."""

    width = 2

    def compute(self, matrix: Any) -> Any:
        return matrix + matrix


@st.composite
def asked(draw: st.DrawFn) -> tuple[bytes, int | None]:
    """A body and what its head says of the JSON's length (None: all of it is JSON)."""
    shape = [draw(st.integers(1, 3)), draw(st.sampled_from([2] * 8 + [1]))]
    datatype = draw(
        st.sampled_from([*["FP32"] * 6, "FP64", "INT32", "UINT8", "FP16", "BOOL", "BYTES", "FP8"])
    )
    count = shape[0] * shape[1]
    values = draw(st.lists(st.sampled_from(VALUES), min_size=count, max_size=count))
    tensor: dict[str, Any] = {"name": "x", "shape": shape, "datatype": datatype}
    request = {"id": draw(st.sampled_from(["7", "8", "a-1"])), "inputs": [tensor], **draw(MORE)}
    if draw(st.integers(0, 4)) == 0:
        tensor["data"] = [value if datatype[0] == "F" else abs(int(value)) for value in np.nan_to_num(values, posinf=0).tolist()]  # fmt: skip
        return json.dumps(request).encode(), None
    dtype = arrays.DTYPES.get(datatype, np.dtype("u1"))
    with np.errstate(all="ignore"):
        raw = np.array(values).astype("u1" if dtype.kind == "O" else dtype).tobytes()
    tensor["parameters"] = {"binary_data_size": len(raw) + draw(st.sampled_from([0] * 9 + [1, -1]))}
    head = json.dumps(request).encode()
    tail = draw(st.sampled_from([raw] * 9 + [raw + b"x", raw[:-1], b"\x07" * len(raw)]))
    return head + tail, len(head) + draw(st.sampled_from([0] * 9 + [1, -1, 1000]))


def closely(server: Server, request: Request) -> Any:
    entry = server.registry.ready("m")
    context = Context(request.headers, "r")
    try:
        inference = http_v2.decode(request)
        result = entry.model.predict(inference, context)
        return seen(http_v2.reply(entry, inference, context, result))
    except FailureError as error:
        return seen(http_replies.failed(error, "r"))


def seen(reply: Reply) -> tuple[int, dict[str, str], bytes]:
    headers = {name: value for name, value in reply.headers.items() if name != http_replies.REQUEST_ID}
    body = reply.body if isinstance(reply.body, bytes) else b"".join(reply.body)  # type: ignore[arg-type]
    return reply.status, headers, body


async def answers(requests: list[tuple[bytes, int | None]]) -> list[tuple[Any, Any]]:
    """What each request was answered, and what it should be; every round under the same heads."""
    server = Server([Table("m")], Settings(drain_quiet_s=0.0), {})
    await server.load()
    heads: dict[Any, Headers] = {}
    found = []
    try:
        for _ in range(ROUNDS):
            waiting = []
            for body, length in requests:
                pairs = [("content-type", "application/json")]
                if length is not None:
                    pairs = [("inference-header-content-length", str(length))]
                headers = heads.setdefault((len(body), length), Headers(pairs))
                request = Request("POST", "/v2/models/m/infer", headers, body)
                future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
                server.connections.handler.begin(request, future.set_result)
                waiting.append((future, closely(server, request)))
            async with asyncio.timeout(20):
                found += [(seen(await future), expected) for future, expected in waiting]
    finally:
        await server.drain()
    return found


@settings(max_examples=80)
@given(st.lists(asked(), min_size=1, max_size=8))
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numbers that overflow are the model's
def test_the_quick_way_answers_as_the_general_one(requests: list[tuple[bytes, int | None]]) -> None:
    for got, expected in asyncio.run(answers(requests)):
        assert got == expected
