"""What a user of KServe's gRPC and REST clients does, against the port it is given. Run by hack/env kserve; prints ``ok``."""

import asyncio
import sys

import numpy as np
from httpx import HTTPStatusError
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig


async def by_grpc(port):
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


async def fails(call, status, words):
    try:
        await call
    except HTTPStatusError as error:
        assert error.response.status_code == status and words in str(error), error
    else:
        raise AssertionError(f"{status} expected")


async def by_rest(url):
    v1 = InferenceRESTClient(RESTConfig(protocol="v1", retries=1, timeout=20))
    assert await v1.is_server_live(url) and await v1.is_model_ready(url, "echo")
    asked = {"instances": [[1, "a"]]}
    assert await v1.infer(url, asked, model_name="echo") == {"predictions": asked["instances"]}
    assert await v1.explain(url, "echo", asked) == {"explanations": asked["instances"]}
    await fails(v1.infer(url, asked, model_name="nope"), 404, "nope")
    await fails(v1.infer(url, {"instances": 1}, model_name="echo"), 400, "to be a list, got a number")
    v2 = InferenceRESTClient(RESTConfig(protocol="v2", retries=1, timeout=20))
    assert await v2.is_server_live(url) and await v2.is_server_ready(url)
    assert await v2.is_model_ready(url, "echo") and not await v2.is_model_ready(url, "nope")
    arrays = {
        "FP32": np.array([[1.5, 2], [3, 4]], np.float32), "INT64": np.array([2**62]), "BOOL": np.array([True]),
        "FP16": np.array([0.5], np.float16), "FP64": np.zeros((0, 4)),
    }  # fmt: skip
    for datatype, array in arrays.items():
        for use_binary in (True,) if datatype == "FP16" else (True, False):
            tensor = InferInput("x", list(array.shape), datatype)
            tensor.set_data_from_numpy(array, binary_data=use_binary)
            wanted = {"binary_data_output": use_binary}
            request = InferRequest("echo", [tensor], request_id="9", parameters=wanted)
            answer = await v2.infer(url, request, model_name="echo")
            assert answer.id == "9" and (answer.outputs[0].as_numpy() == array).all(), (datatype, use_binary)
            assert list(answer.outputs[0].shape) == list(array.shape)
    tensor = InferInput("x", [3], "FP32", data=[1.0])
    await fails(v2.infer(url, InferRequest("echo", [tensor]), model_name="echo"), 400, "holds 3 elements")


asyncio.run(by_grpc(sys.argv[1]))
asyncio.run(by_rest(f"http://127.0.0.1:{sys.argv[1]}"))
print("ok")
