"""What a user of Triton's HTTP client does, against the port it is given. Run by hack/env grpc-clients; prints ``ok``."""

import sys

import ml_dtypes
import numpy as np
import tritonclient.http as http
from triton_arrays import ENDS

client = http.InferenceServerClient(f"127.0.0.1:{sys.argv[1]}", concurrency=4)
assert client.is_server_live() and client.is_server_ready()
assert client.is_model_ready("echo") and not client.is_model_ready("nope")
assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
assert client.get_model_metadata("echo")["name"] == "echo"
assert client.get_model_repository_index() == [{"name": "echo", "state": "READY"}]


def tensor(array, datatype, *, is_binary=True):
    made = http.InferInput("x", list(array.shape), datatype)
    made.set_data_from_numpy(array, binary_data=is_binary)
    return made


def wanted(**how):
    return [http.InferRequestedOutput("x", **how)]


ARRAYS = {
    **ENDS,
    "BF16": np.array([0.5, -2], ml_dtypes.bfloat16),
    "FP32": np.array([[1.5, -0.25]], np.float32),
    "FP64": np.array(1e300),
    "BYTES": np.array(["a", "ä", ""], object),
}
for datatype, array in ARRAYS.items():
    for empty in (False, True):
        sent = array.reshape(-1)[:0].reshape(0, 4) if empty else array
        in_forms, out_forms = ((True,), (True,)) if datatype in ("FP16", "BF16") else ((True, False),) * 2
        for is_in in in_forms:
            for is_out in out_forms:
                given = tensor(sent, datatype, is_binary=is_in)
                got = client.infer("echo", [given], outputs=wanted(binary_data=is_out)).as_numpy("x")
                case = datatype, empty, is_in, is_out
                assert list(got.shape) == list(sent.shape), case
                if datatype == "BYTES":
                    texts = [v.decode() if isinstance(v, bytes) else v for v in got.reshape(-1)]
                    assert texts == sent.reshape(-1).tolist(), case
                else:
                    assert got.dtype == sent.dtype and got.tobytes() == sent.tobytes(), case

image = np.random.default_rng(1).random((8, 3, 224, 224), np.float32)
for coding in (None, "gzip", "deflate"):
    answer = client.infer(
        "echo", [tensor(image, "FP32")], request_compression_algorithm=coding, response_compression_algorithm=coding,
    )  # fmt: skip
    assert (answer.as_numpy("x") == image).all(), coding
listed = tensor(image[:1, :, :50, :50], "FP32", is_binary=False)
for coding in ("gzip", "deflate"):
    answer = client.infer(
        "echo", [listed], outputs=wanted(binary_data=False), response_compression_algorithm=coding
    )
    assert (answer.as_numpy("x") == image[:1, :, :50, :50]).all(), coding

small = tensor(np.zeros(2, np.float32), "FP32")
answer = client.infer(
    "echo", [small], request_id="7", headers={"X-Request-Timeout": "9"}, parameters={"a": 1}
)
assert answer.get_response()["id"] == "7"
scores = tensor(np.array([0.1, 0.7, 0.2], np.float32), "FP32")
top = client.infer("echo", [scores], outputs=wanted(class_count=2)).as_numpy("x")
assert top.tolist() == [b"0.700000:1", b"0.200000:2"], top
waiting = [client.async_infer("echo", [small], request_id=str(n)) for n in range(20)]
assert [one.get_result().get_response()["id"] for one in waiting] == [str(n) for n in range(20)]

elsewhere = http.InferInput("x", [2, 3], "FP32")
elsewhere.set_shared_memory("region", 24)
for call, status, words in (
    (lambda: client.infer("nope", [small]), "404", "nope"),
    (lambda: client.infer("echo", [elsewhere]), "400", "input 'x' is in shared memory"),
    (lambda: client.infer("echo", [small], outputs=[http.InferRequestedOutput("z")]), "400", "the model gives x"),
    (lambda: client.infer("echo", [small], model_version="3"), "501", "versioning"),
    (lambda: client.load_model("echo"), "501", "enable_repository"),
    (lambda: client.get_model_config("echo"), "404", "no such route"),
    (lambda: client.get_system_shared_memory_status(), "404", "no such route"),
):  # fmt: skip
    try:
        call()
    except http.InferenceServerException as error:
        assert status in error.status() and words in error.message(), (error.status(), error.message())
    else:
        raise AssertionError(f"{status} expected")
print("ok")
