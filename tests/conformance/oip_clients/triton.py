"""What a user of Triton's gRPC client does, against the port it is given. Run by hack/env grpc-clients; prints ``ok``."""

import queue
import sys

import numpy as np
import tritonclient.grpc as grpc
from triton_arrays import ENDS

client = grpc.InferenceServerClient(f"127.0.0.1:{sys.argv[1]}")
assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("echo")
assert client.get_server_metadata().name == "wakeful"
assert client.get_model_metadata("echo").name == "echo"
assert [m.name for m in client.get_model_repository_index().models] == ["echo"]


def tensor(name, array, datatype):
    made = grpc.InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array)
    return made


ARRAYS = {
    **ENDS,
    "FP32": np.array([[1.5, np.inf, np.nan]], np.float32),
    "FP64": np.array([1e300], np.float64),
    "BYTES": np.array(["a", "ä", ""], object),
}
for datatype, array in ARRAYS.items():
    got = client.infer("echo", [tensor("x", array, datatype)]).as_numpy("x")
    if datatype == "BYTES":
        assert [v.decode() for v in got] == ["a", "ä", ""], got
    else:
        assert got.dtype == array.dtype and got.shape == array.shape and got.tobytes() == array.tobytes(), (
            datatype
        )

image = np.random.default_rng(1).random((8, 3, 224, 224), np.float32)
for algorithm in (None, "gzip", "deflate"):
    answer = client.infer("echo", [tensor("x", image, "FP32")], compression_algorithm=algorithm)
    assert (answer.as_numpy("x") == image).all(), algorithm

small = tensor("x", np.zeros(2, np.float32), "FP32")
two = client.infer("echo", [small, tensor("y", np.ones(1, np.int32), "INT32")], request_id="7",
                   outputs=[grpc.InferRequestedOutput("y")])  # fmt: skip
assert two.get_response().id == "7" and two.as_numpy("x") is None and two.as_numpy("y").tolist() == [1]

scores = tensor("x", np.array([[0.1, 0.7, 0.2], [0.5, 0.25, 0.25]], np.float32), "FP32")
top = client.infer("echo", [scores], outputs=[grpc.InferRequestedOutput("x", class_count=2)]).as_numpy("x")
assert top.tolist() == [[b"0.700000:1", b"0.200000:2"], [b"0.500000:0", b"0.250000:1"]], top
elsewhere = grpc.InferInput("x", [2, 3], "FP32")
elsewhere.set_shared_memory("region", 24)
kept = grpc.InferRequestedOutput("x")
kept.set_shared_memory("region", 24)

for call, status, words in (
    (lambda: client.infer("echo", [elsewhere]), "INVALID_ARGUMENT", "input 'x' is in shared memory"),
    (
        lambda: client.infer("echo", [small], outputs=[kept]),
        "INVALID_ARGUMENT",
        "output 'x' is in shared memory",
    ),
    (lambda: client.infer("nope", [small]), "NOT_FOUND", "nope"),
    (
        lambda: client.infer("echo", [small], outputs=[grpc.InferRequestedOutput("z")]),
        "INVALID_ARGUMENT",
        "output",
    ),
    (lambda: client.infer("echo", [small], model_version="3"), "UNIMPLEMENTED", "version"),
    (lambda: client.load_model("echo"), "UNIMPLEMENTED", "enable_repository"),
    (lambda: client.get_system_shared_memory_status(), "UNIMPLEMENTED", "shared memory"),
    (lambda: client.get_model_config("echo"), "UNIMPLEMENTED", "ModelConfig"),
):
    try:
        call()
    except grpc.InferenceServerException as error:
        assert status in error.status() and words in error.message(), (error.status(), error.message())
    else:
        raise AssertionError(f"{status} expected")

answers = queue.Queue()
client.start_stream(lambda result, error: answers.put((result, error)))
for number in range(20):
    client.async_stream_infer("nope" if number == 3 else "echo", [small], request_id=str(number))
told = [answers.get(timeout=20) for _ in range(20)]
assert "nope" in str(told[3][1])
assert [result.get_response().id for result, error in told if error is None] == [
    str(n) for n in range(20) if n != 3
]
client.stop_stream()
counted = client.get_inference_statistics("echo").model_stats[0].inference_stats
assert counted.success.count >= 30 and counted.fail.count >= 1, counted
print("ok")
