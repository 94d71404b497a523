"""A transformer as KServe's users write it: async, builds a V2 request, reads the predictor's answer."""

import argparse

import numpy as np

from wakeful.kserve import InferInput, InferRequest, InferResponse, Model, ModelServer, model_server
from wakeful.kserve.model import PredictorConfig


class Rounder(Model):
    def __init__(self, name: str, predictor_config: PredictorConfig):
        super().__init__(name, predictor_config)
        self.ready = True

    async def preprocess(self, payload, headers=None):
        if isinstance(payload, InferRequest):
            rows = payload.inputs[0].as_numpy()
        else:
            rows = np.array(payload["instances"])
        rows = np.round(rows).astype(np.float32)
        rows_input = InferInput("rows", list(rows.shape), "FP32")
        rows_input.set_data_from_numpy(rows, binary_data=False)
        return InferRequest(self.name, [rows_input], request_id="from-the-transformer")

    def postprocess(self, result, headers=None, response_headers=None):
        assert isinstance(result, InferResponse)
        if headers.get("x-answer") == "v2":
            return result
        return {"predictions": result.get_output_by_name("scaled").as_numpy().tolist()}


parser = argparse.ArgumentParser(parents=[model_server.parser])
args, _ = parser.parse_known_args()

if __name__ == "__main__":
    config = PredictorConfig(
        predictor_host=args.predictor_host,
        predictor_protocol=args.predictor_protocol,
        predictor_use_ssl=args.predictor_use_ssl,
        predictor_request_timeout_seconds=args.predictor_request_timeout_seconds,
    )
    ModelServer().start([Rounder(args.model_name, predictor_config=config)])
