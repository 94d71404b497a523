"""Each exchange is answered as the real API server answered when it was recorded (``hack/api-diff record``).

On another cluster (``WAKEFUL_CONTRACT_KUBECONFIG``) the record itself is held to it; there no difference is accepted.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cluster_api import KUBECONFIG, Api
from exchange_compare import differences, split
from exchange_run import Run
from exchange_steps import FOLDER, Family, Step, accepted, families, load, recorded

Obj = dict[str, Any]
CASES = [(family.name, step) for family in families() for step in family.steps if not step.silent]


@pytest.fixture(scope="session")
def ran() -> dict[str, dict[str, Obj]]:
    """What the families run so far were answered."""
    return {}


@pytest.mark.timeout(300)  # a family's first case runs all of its steps: 90 times kubectl on a busy machine
@pytest.mark.parametrize(("name", "step"), CASES, ids=[f"{name}-{step.id}" for name, step in CASES])
def test_an_exchange(
    api: Api, _server: tuple[Path, Path | None], ran: dict[str, dict[str, Obj]], name: str, step: Step
) -> None:
    if name not in ran:
        family: Family = load(FOLDER / f"{name}.yaml")
        ran[name] = Run(api, _server[0]).answers(family)
    real = recorded(name)
    assert step.id in real, f"not recorded: hack/api-diff record KUBECONFIG {name}"
    found = differences(real[step.id], ran[name][step.id])
    meant = accepted()
    left, stale = (found, set()) if KUBECONFIG else split(found, meant.of(name, step.id), meant.everywhere)
    assert not left, "\n".join(
        f"{path}: {json.dumps(a)} here {json.dumps(b)}" for path, (a, b) in left.items()
    )
    assert not stale, f"accepted differences that are none any more: {sorted(stale)}"
