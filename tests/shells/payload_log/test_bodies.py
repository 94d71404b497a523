"""What leaves the process of a body: never more than allowed, never a value that is named, whatever the body is."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from wakeful.core.protocol import arrays, oip, oip_proto, oip_proto_caller
from wakeful.core.protocol.payload_record import Kind, Record
from wakeful.serving.payload_log import bodies
from wakeful.serving.payload_log.bodies import Form

SECRET = b"correct horse battery staple"
NAMED = frozenset({"secret"})


def shown(body: bytes, form: Form, redacted: frozenset[str], max_bytes: int) -> Record:
    record = Record(Kind.REQUEST, "1", "", "/", "application/grpc", body, body_bytes=len(body))
    return bodies.shown(record, form, redacted, max_bytes)


@given(st.binary(max_size=300), st.sampled_from(Form), st.booleans(), st.integers(0, 200))
@example(b"[" * 100_000, Form.PLAIN, True, 200)
def test_any_body_is_shown_within_the_bound(body: bytes, form: Form, is_redacted: bool, limit: int) -> None:
    assert len(shown(body, form, NAMED if is_redacted else frozenset(), limit).body) <= limit


@given(
    st.integers(0, 3000),
    st.integers(0, 20_000),
    st.sampled_from(["FP32", "FP16", "BF16", "UINT8"]),
    st.integers(0, 40),
)
def test_a_named_tensor_never_leaves_the_process(rows: int, limit: int, datatype: str, cut: int) -> None:
    """Cut off, too large for JSON, in every form: it is redacted or left out."""
    tensors = [
        arrays.from_array("x", np.ones(rows + 1), datatype),
        oip.Tensor("secret", (1,), "BYTES", [SECRET]),
    ]
    asked = oip_proto_caller.encode("m", oip.InferRequest(tensors)).SerializeToString()
    message = b"".join(oip_proto.encode(oip.InferResponse(tensors, "m"), tensors, is_raw=True))
    framed = b"\0" + len(message).to_bytes(4, "big") + message
    for body, form in (
        (asked, Form.GRPC_REQUEST),
        (framed, Form.GRPC_ANSWERS),
        (framed * 2, Form.GRPC_ANSWERS),
    ):
        found = shown(body[: len(body) - cut], form, NAMED, limit)
        assert SECRET not in found.body and len(found.body) <= limit
        if not cut and limit > 18_000 and form is Form.GRPC_REQUEST and rows < 2000:
            assert b"[redacted]" in found.body
