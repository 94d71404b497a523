"""A transformer: takes inches, asks the predictor in centimetres, and answers with the names of the flowers."""

from __future__ import annotations

import sys
from typing import Any

from wakeful import Context, InvalidError, Model, serve

KINDS = ("setosa", "versicolor", "virginica")


class Inches(Model):
    """Leaves ``predict`` alone: with --predictor_host the inherited one asks the predictor."""

    def preprocess(self, payload: Any, context: Context) -> Any:
        try:
            return {"instances": [[inches * 2.54 for inches in row] for row in payload["instances"]]}
        except (KeyError, TypeError) as error:
            raise InvalidError('send {"instances": [[...]]} with four lengths in inches a row') from error

    def postprocess(self, result: Any, context: Context) -> Any:
        context.response_headers["X-Unit"] = "inch"
        return {"predictions": [KINDS[label] for label in result["predictions"]]}


if __name__ == "__main__":
    sys.exit(serve(lambda settings: [Inches(settings.model_name)]))
