"""A custom model on Wakeful's own base class: doubles every number. $FACTOR changes that."""

import os
from typing import Any

from wakeful import Model, serve


class Doubles(Model):
    def predict(self, payload: Any) -> Any:  # type: ignore[override]  # the context may be left out
        factor = float(os.environ.get("FACTOR", "2"))
        return {"predictions": [[factor * number for number in row] for row in payload["instances"]]}


serve([Doubles("doubles")], [f"--http_port={os.environ['PORT']}", "--http_address=127.0.0.1"])
