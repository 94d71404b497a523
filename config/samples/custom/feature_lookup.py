"""A transformer that looks features up: rows of identifiers in, the rows that Redis has for them to the predictor.

Features are Redis hashes ``flower:ID`` with the columns of the model. One round trip a request; an unknown identifier is
the caller's mistake (400), a Redis that does not answer is 503. Settings: REDIS_URL (default redis://127.0.0.1:6379).
"""

from __future__ import annotations

import os
import sys
from typing import Any

import redis.asyncio
from redis.exceptions import RedisError

from wakeful import Context, FailureError, FailureKind, InvalidError, Model, serve

COLUMNS = ("sepal_length", "sepal_width", "petal_length", "petal_width")


class FeatureLookup(Model):
    """``{"instances": ["17", "18"]}`` becomes rows of features."""

    def load(self) -> None:
        url = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379")
        self._redis = redis.asyncio.from_url(url, socket_timeout=2.0, decode_responses=True)

    async def unload(self) -> None:
        await self._redis.aclose()

    async def preprocess(self, payload: Any, context: Context) -> Any:
        names = payload.get("instances") if isinstance(payload, dict) else None
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise InvalidError('send {"instances": ["ID", ...]}')
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for name in names:
                    pipeline.hmget(f"flower:{name}", COLUMNS)
                found = await pipeline.execute()
        except (RedisError, OSError) as error:
            raise FailureError(
                FailureKind.UNAVAILABLE, f"the feature store does not answer: {error}", 1.0
            ) from error
        for name, values in zip(names, found, strict=True):
            if None in values:
                raise InvalidError(f"flower {name[:80]!r} is not in the feature store, or lacks a column")
        return {"instances": [[float(value) for value in values] for values in found]}


if __name__ == "__main__":
    sys.exit(serve(lambda settings: [FeatureLookup(settings.model_name)]))
