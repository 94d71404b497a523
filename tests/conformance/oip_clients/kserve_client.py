"""What a user of KServe's gRPC client does, against the port it is given. Run by hack/env kserve; prints ``ok``."""

import asyncio
import sys

import numpy as np
from kserve import InferenceGRPCClient, InferInput, InferRequest


async def main(port):
    client = InferenceGRPCClient(f"127.0.0.1:{port}")
    assert await client.is_server_live() and await client.is_server_ready()
    assert await client.is_model_ready("echo")
    array = np.array([[1.5, 2], [3, 4]], np.float32)
    for use_binary in (True, False):
        tensor = InferInput("x", [2, 2], "FP32")
        tensor.set_data_from_numpy(array, binary_data=use_binary)
        request = InferRequest(model_name="echo", infer_inputs=[tensor], request_id="9")
        answer = await client.infer(request, headers=[("x-asked", "yes")])
        assert answer.id == "9" and answer.model_name == "echo", answer
        assert (answer.outputs[0].as_numpy() == array).all(), use_binary
    words = InferInput("w", [2], "BYTES")
    words.set_data_from_numpy(np.array(["a", "ä"], object), binary_data=False)
    answer = await client.infer(InferRequest(model_name="echo", infer_inputs=[words]))
    assert [w if isinstance(w, str) else w.decode() for w in answer.outputs[0].as_numpy().tolist()] == [
        "a",
        "ä",
    ]
    await client.close()


asyncio.run(main(sys.argv[1]))
print("ok")
