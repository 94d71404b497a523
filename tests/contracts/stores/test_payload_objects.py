"""The payload logger's objects in a real S3 server."""

from __future__ import annotations

import io
import json

from minio import Minio
from prometheus_client import CollectorRegistry

from wakeful.serving.exchange import Headers, Reply, Request
from wakeful.serving.payload_log import settings, sinks
from wakeful.serving.payload_log.logger import PayloadLogger


async def test_records_are_objects_below_the_prefix(s3_endpoint: str) -> None:
    client = Minio(s3_endpoint.removeprefix("http://"), "key", "secret", secure=False, region="us-east-1")
    client.make_bucket("payloads")
    environ = {
        "WAKEFUL_LOGGER_STORE_PATH": "s3://payloads/logs",
        "INFERENCE_SERVICE_NAME": "iris",
        "WAKEFUL_LOGGER_STORE_CONFIG": json.dumps(
            {
                "type": "s3",
                "access_key_id": "key",
                "secret_access_key": "secret",
                "endpoint_url": s3_endpoint,
            }
        ),
    }
    found = settings.parse(environ)
    assert found is not None
    logger = PayloadLogger(found, lambda: sinks.make(found, environ), CollectorRegistry(), lambda: 0.0)
    await logger.start()
    headers = Headers([("content-type", "application/json")])
    logger.answered(Request("POST", "/v2/models/iris/infer", headers, b"{}"), Reply(400), "a", 0.1)
    await logger.close()
    names = {item.object_name for item in client.list_objects("payloads", recursive=True)}
    folder = "logs/default/iris/predictor/v2/models/iris/infer"
    assert names == {f"{folder}/a-request.json", f"{folder}/a-response.json"}
    answer = client.get_object("payloads", f"{folder}/a-response.json")
    with io.BytesIO(answer.read()) as content:
        assert json.loads(content.read())["status"] == 400
    answer.close()
    answer.release_conn()
