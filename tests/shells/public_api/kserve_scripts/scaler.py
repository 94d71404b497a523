"""A model as KServe's users write it: V1 and V2, sync, its own argument, metadata, errors."""

import argparse

import numpy as np

from wakeful.kserve import (
    InferOutput,
    InferRequest,
    InferResponse,
    Model,
    ModelServer,
    generate_uuid,
    logging,
    model_server,
)
from wakeful.kserve.errors import InferenceError, InvalidInput

logger = logging.logger


class Scaler(Model):
    def __init__(self, name: str, factor: float):
        super().__init__(name, False)
        self.factor = factor
        self.load()

    def load(self):
        self.weights = np.array([self.factor])
        self.ready = True
        return self.ready

    def get_input_types(self):
        return [{"name": "rows", "datatype": "FP32", "shape": [-1, 2]}]

    def preprocess(self, payload, headers=None):
        if isinstance(payload, InferRequest):
            if payload.get_input_by_name("rows") is None:
                raise InvalidInput("the input rows is missing")
            return payload
        if payload["instances"] == ["explode"]:
            raise InferenceError("it exploded")
        return payload

    def validate(self, payload):
        if isinstance(payload, dict) and payload["instances"] == ["validate"]:
            raise InvalidInput("it is not valid")
        return super().validate(payload)

    def predict(self, payload, headers=None):
        if isinstance(payload, InferRequest):
            rows = payload.get_input_by_name("rows").as_numpy()
            assert rows.dtype == np.float32
            scaled = (rows * self.weights).astype(np.float32)
            output = InferOutput(name="scaled", shape=list(scaled.shape), datatype="FP32")
            output.set_data_from_numpy(output_tensor=scaled, binary_data=False)
            texts = [f"row {index}" for index in range(len(rows))]
            labels = InferOutput("labels", [len(rows)], "BYTES", texts)
            answer_id = payload.id or generate_uuid()
            return InferResponse(answer_id, self.name, [output, labels], from_grpc=payload.from_grpc)
        rows = np.array(payload["instances"])
        return {"predictions": (rows * self.weights).tolist(), "tenant": headers.get("x-tenant")}

    def postprocess(self, result, headers=None, response_headers=None):
        if response_headers is not None:
            response_headers.update({"x-scaled": "yes"})
        return result


parser = argparse.ArgumentParser(parents=[model_server.parser])
parser.add_argument("--factor", type=float, default=1.0)
args, _ = parser.parse_known_args()

if __name__ == "__main__":
    if args.configure_logging:
        logging.configure_logging(args.log_config_file)
    ModelServer().start([Scaler(args.model_name, args.factor)])
