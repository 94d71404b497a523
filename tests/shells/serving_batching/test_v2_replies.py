"""V2 answers over HTTP: what a batch's share says at once is what its tensors would have said, for any request."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from wakeful.core.protocol import oip
from wakeful.core.protocol.oip_shares import Share
from wakeful.serving import http_v2
from wakeful.serving.exchange import Reply
from wakeful.serving.model import Context
from wakeful.serving.tabular import TabularModel

REQUESTS: list[dict[str, Any]] = [
    {},
    {"id": "7"},
    {"parameters": {"a": 1}},
    {"parameters": {"binary_data_output": True}, "id": "7"},
    {"outputs": [{"name": "output-0"}]},
    {"outputs": [{"name": "output-0", "parameters": {"binary_data": True}}]},
]


class Doubling(TabularModel):
    width = 2

    def compute(self, matrix: Any) -> Any:
        return matrix * 2


def reply(entry: Any, request: oip.InferRequest, result: Any) -> Reply:
    context = Context({})
    context.response_headers["content-type"] = "text/model"
    return http_v2.reply(entry, request, context, result)


@pytest.mark.parametrize("more", REQUESTS, ids=str)
@pytest.mark.parametrize("count", [1, 3])
def test_a_share_is_answered_as_its_tensors_are(more: dict[str, Any], count: int) -> None:
    model = Doubling("m")
    entry = SimpleNamespace(model=model)
    tensor = {"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [1.5, 2, 3, 4]}
    request = oip.from_object({"inputs": [tensor], "id": "9"} | more)
    oip.complete_inputs(request)
    parts = [model.batching.part(request, Context({})) for _ in range(count)]  # type: ignore[union-attr]
    shares = list(model.batching.answer(parts))  # type: ignore[union-attr,arg-type]
    assert [type(share) for share in shares] == [Share] * count
    expected = reply(entry, request, model.rendered(request, np.array([[3, 4], [6, 8]], "<f4")))
    for share in shares:
        found = reply(entry, request, share)
        assert (found.status, found.headers) == (200, expected.headers)
        assert joined(found) == joined(expected)


def joined(reply: Reply) -> bytes:
    return reply.body if isinstance(reply.body, bytes) else b"".join(reply.body)  # type: ignore[arg-type]
