"""KServe's ``ModelServer`` and its command-line ``parser``, on Wakeful's model server.

A user's script makes its models and calls ``ModelServer().start([model])``; flags are KServe's and Wakeful's, and flags
of the script's own are left alone. Arguments of the constructor stand below flags that were given.

Invariant: ``start`` returns when the server has drained; a failed start ends the process with its status.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any

from wakeful.kserve.model import Model, PredictorConfig, Served
from wakeful.serving import server, settings
from wakeful.serving.settings import Settings


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0", "yes", "no"):
        raise argparse.ArgumentTypeError(f"takes true or false, got {text!r}")
    return text.lower() in ("true", "1", "yes")


def _kind(name: str, of: type) -> Callable[[str], Any]:
    """What argparse turns a flag's text into, within the bounds that the flag has."""

    def convert(text: str) -> Any:
        try:
            return settings.value_of(name, text, of)
        except settings.SettingsError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for item in fields(Settings):
        default = item.default
        spellings = dict.fromkeys((f"--{item.name}", f"--{item.name.replace('_', '-')}"))
        if isinstance(default, bool):
            made.add_argument(*spellings, dest=item.name, default=default, type=_flag, nargs="?", const=True)
        else:
            kind = _kind(item.name, type(default))
            made.add_argument(*spellings, dest=item.name, default=default, type=kind)
    known = {item.name for item in fields(Settings)}
    for name in sorted(settings.IGNORED - known):
        spellings = dict.fromkeys((f"--{name}", f"--{name.replace('_', '-')}"))
        made.add_argument(*spellings, dest=name, default=None, nargs="?", const=True)
    return made


parser = _parser()
"""The flags of every model server, for ``argparse.ArgumentParser(parents=[parser])``."""
args, _ = parser.parse_known_args([] if sys.argv[0].endswith(("pytest", "py.test")) else sys.argv[1:])


class ModelServer:
    """The server of a script's models."""

    def __init__(
        self,
        predictor_config: PredictorConfig | None = None,
        registered_models: Any = None,
        **options: Any,
    ) -> None:
        """``options`` are KServe's; those that name a setting of Wakeful's server set it, unless a flag did."""
        self._config = predictor_config
        self._options = options
        self._models: list[Model] = []

    def register_model(self, model: Model) -> None:
        """Serve one more model; before ``start``."""
        self._models.append(model)

    def start(self, models: Sequence[Model]) -> None:
        """Serve ``models`` until SIGTERM. Raises ``SystemExit`` where the start fails."""
        all_models = [*self._models, *models]
        try:
            given = self._settings(all_models)
        except settings.SettingsError as error:
            sys.exit(server.fail(str(error), server.EXIT_USAGE))
        status = server.serve([Served(model) for model in all_models], given)
        if status:
            sys.exit(status)

    def _settings(self, models: Sequence[Model]) -> Settings:
        given, _ = parser.parse_known_args()
        names = {item.name: item.default for item in fields(Settings)}
        values = {name: getattr(given, name) for name in names}
        for name, value in self._options.items():
            if name in names and values[name] == names[name] and value is not None:
                values[name] = settings.value_of(name, str(value), type(names[name]))
        return _with_predictor(Settings(**values), self._config, models)


def _with_predictor(found: Settings, config: PredictorConfig | None, models: Sequence[Model]) -> Settings:
    """The predictor's address from the server's configuration or the models' own attributes, where no flag gave it."""
    if found.predictor_host:
        return found
    if config is not None:
        return replace(
            found,
            predictor_host=config.predictor_host,
            predictor_protocol=str(config.predictor_protocol),
            predictor_use_ssl=config.predictor_use_ssl,
            predictor_request_timeout_seconds=float(config.predictor_request_timeout_seconds),
        )
    model = next((item for item in models if item.predictor_host), None)
    if model is None or not model.predictor_host:
        return found
    return replace(
        found,
        predictor_host=model.predictor_host,
        predictor_protocol=getattr(model.protocol, "value", model.protocol),
        predictor_use_ssl=model.use_ssl,
        predictor_request_timeout_seconds=float(model.timeout),
    )
