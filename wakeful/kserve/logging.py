"""KServe's ``logging`` names: a logger for users' code, and ``configure_logging``.

The server itself writes JSON lines (``wakeful.kit.logs``) whatever is configured here.
Invariant: nothing is configured by import.
"""

from __future__ import annotations

import json
import logging
import logging.config
from pathlib import Path

KSERVE_LOGGER_NAME = "kserve"
logger = logging.getLogger(KSERVE_LOGGER_NAME)


def configure_logging(log_config: str | dict[str, object] | None = None) -> None:
    """Configure Python's logging: INFO on stderr, or as a dictionary or a JSON or YAML file of ``dictConfig`` says."""
    if log_config is None:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s: %(message)s")
        return
    if isinstance(log_config, str):
        text = Path(log_config).read_text()
        if log_config.endswith((".yaml", ".yml")):
            import yaml

            log_config = dict(yaml.safe_load(text))
        else:
            log_config = dict(json.loads(text))
    logging.config.dictConfig(log_config)
