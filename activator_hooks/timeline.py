"""One wake of a sleeping revision by phase: decide, start, import, load, probe, answer. A pure value.

The gateway makes one a wake from five instants (Unix seconds) and two durations that the model server reports about
itself; ``docs/explanation/standalone.md`` ("Cold start by phase") says what each phase means.

    seen --decide--> decided --start--> started --import, load, probe--> ready --answer--> answered

Invariant: the phases are never negative and their sum is the total; an instant that is missing or out of order
(a pod that was already on its way, two clocks) is moved to its neighbour, so that the phase it would open is 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

PHASES = ("decide", "start", "import", "load", "probe", "answer")


@dataclass(frozen=True, slots=True)
class Instants:
    """What was observed; None where nothing was. Unix seconds, and milliseconds for the reported durations."""

    seen: float
    ready: float
    answered: float
    decided: float | None = None
    started: float | None = None
    import_ms: float = 0.0
    load_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Timeline:
    """A finished wake. ``phases_ms`` has exactly the keys of ``PHASES``."""

    namespace: str
    revision: str
    pod: str
    seen_at: float
    phases_ms: Mapping[str, float]

    @property
    def total_ms(self) -> float:
        return sum(self.phases_ms.values())

    def server_timing(self) -> str:
        """The value of the ``Server-Timing`` header."""
        return ", ".join(f"{name};dur={self.phases_ms[name]:.1f}" for name in PHASES)

    def to_json(self) -> dict[str, object]:
        """The entry in ``GET /timelines``."""
        return {
            "namespace": self.namespace,
            "revision": self.revision,
            "pod": self.pod,
            "seen_at": self.seen_at,
            "total_ms": round(self.total_ms, 3),
            "phases_ms": {name: round(self.phases_ms[name], 3) for name in PHASES},
        }


def build(namespace: str, revision: str, pod: str, at: Instants) -> Timeline:
    """Make the timeline of one wake from what was observed."""
    ready = max(at.ready, at.seen)
    answered = max(at.answered, ready)
    decided = _between(at.seen if at.decided is None else at.decided, at.seen, ready)
    started = _between(decided if at.started is None else at.started, decided, ready)
    boot_ms = (ready - started) * 1000
    imported_ms = min(max(at.import_ms, 0.0), boot_ms)
    loaded_ms = min(max(at.load_ms, 0.0), boot_ms - imported_ms)
    phases = {
        "decide": (decided - at.seen) * 1000,
        "start": (started - decided) * 1000,
        "import": imported_ms,
        "load": loaded_ms,
        "probe": boot_ms - imported_ms - loaded_ms,
        "answer": (answered - ready) * 1000,
    }
    return Timeline(namespace, revision, pod, at.seen, phases)


def _between(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


def parse_server_timing(value: str) -> dict[str, float]:
    """Durations in milliseconds by name from a ``Server-Timing`` header; what cannot be read is left out."""
    out: dict[str, float] = {}
    for entry in value.split(","):
        name, *parameters = (part.strip() for part in entry.split(";"))
        for parameter in parameters:
            key, _, number = parameter.partition("=")
            if key.strip().lower() == "dur":
                try:
                    duration = float(number.strip().strip('"'))
                except ValueError:
                    continue
                if 0 <= duration < float("inf"):
                    out[name.lower()] = duration
    return out
