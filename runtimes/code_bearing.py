"""The platform's policy about files that run code when loaded, as a model server acts on it.

Called by the loaders of frameworks that have such files (scikit-learn, PyTorch). The policy comes with the variable
``WAKEFUL_PICKLE`` (docs/reference/model-formats.md). Invariant: ``permit`` is called before such a file is opened.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from wakeful.core.api import code_bearing
from wakeful.core.api.code_bearing import Policy
from wakeful.kit import logs
from wakeful.serving.model import LoadError

log = logs.get("runtimes")


def policy_of(environ: Mapping[str, str]) -> Policy:
    """The policy in force. Raises ``LoadError`` for a word that is none."""
    value = environ.get(code_bearing.VARIABLE, "")
    policy = code_bearing.policy_of(value)
    if policy is None:
        raise LoadError(f"{code_bearing.VARIABLE} is {value!r}: it takes Allow, Warn or Refuse")
    return policy


def permit(path: Path, policy: Policy, safe_alternative: str) -> None:
    """Let ``path`` be loaded, with a line in the log where the policy warns. Raises ``LoadError`` where it refuses."""
    if policy is Policy.REFUSE:
        raise LoadError(
            f"{path.name} is a {path.suffix} file, which runs code when loaded, and {code_bearing.VARIABLE}=Refuse: "
            f"save the model as {safe_alternative} instead"
        )
    if policy is Policy.WARN:
        log.warning("model format runs code when loaded", file=path.name, safe_alternative=safe_alternative)
