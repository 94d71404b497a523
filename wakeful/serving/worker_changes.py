"""Loading and unloading by request where several processes serve: one change, in all of them, acknowledged when all have done it.

The supervisor (``workers``) keeps one ``Changes``; a worker that is asked over HTTP or gRPC hands the change up, every worker that
serves carries it out, and the asker hears what each said. A load that some could and some could not is undone: the model
is unloaded in all, so that nobody's answer depends on which process took the request. One that nobody could leaves each as it was.
A worker that is started meanwhile, or instead of one that died, comes to the same state before it accepts
connections: it does not load what is ``unloaded``, and makes up for what began since (``missed``). Messages are ``worker``'s
business. Pure: time is handed in.

Invariant: at most one change of a model goes on at a time, so all workers carry changes of it out in the same order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

LIMIT_S = 1800.0
"""For all workers to carry out a change; whoever has not by then is told as one that has not."""
LOAD, UNLOAD = "load", "unload"


@dataclass(slots=True)
class Change:
    """A change that goes on."""

    asker: int
    number: int
    """The asker's own."""
    verb: str
    name: str
    deadline: float
    missing: dict[int, int]
    """Pid to place of the workers that have not answered."""
    errors: list[list[object]] = field(default_factory=list)
    """[place, text] of those that failed."""
    count: int = 0
    """How many were asked."""
    refused: int = 0
    """How many of the errors are a worker's own answer: it lives on without the change."""
    undoes: Change | None = None
    """The load that this unloading takes back."""
    previous: tuple[str, float] | None = None
    """The model's last change before."""

    @property
    def is_half_done(self) -> bool:
        """Whether it is a load that some workers live on without, and others have or will, in place of one that died."""
        return self.verb == LOAD and 0 < self.refused < self.count


class Changes:
    """The changes of one supervisor."""

    def __init__(self) -> None:
        self._open: dict[int, Change] = {}
        self._last: dict[str, tuple[str, float]] = {}
        """Model to its last change and when that began."""
        self._number = 0

    def begin(
        self, asker: int, number: int, what: tuple[str, str], workers: Mapping[int, int], now: float
    ) -> int | None:
        """Begin ``what`` (verb and model) in ``workers`` (pid to place): its number; None while another goes on with that model."""
        verb, name = what
        if any(change.name == name for change in self._open.values()):
            return None
        change = Change(asker, number, verb, name, now + LIMIT_S, dict(workers), count=len(workers))
        return self._add(change, now)

    def undo(self, change: Change, workers: Mapping[int, int], now: float) -> int:
        """Begin to unload in ``workers`` what ``change``, finished, has loaded in some: its number."""
        back = Change(change.asker, change.number, UNLOAD, change.name, now + LIMIT_S, dict(workers))
        back.undoes = change
        return self._add(back, now)

    def _add(self, change: Change, now: float) -> int:
        self._number += 1
        change.previous = self._last.get(change.name)
        self._last[change.name] = (change.verb, now)
        self._open[self._number] = change
        return self._number

    def did(self, number: int, pid: int, error: str | None, *, has_ended: bool = False) -> None:
        """A worker has carried out a change, or says why it could not, or has ended in it."""
        change = self._open.get(number)
        place = change.missing.pop(pid, None) if change is not None else None
        if change is not None and place is not None and error is not None:
            change.errors.append([place, error])
            change.refused += not has_ended

    def ended(self, pid: int) -> None:
        """A worker has died: its replacement makes up for what it has missed, but the asker hears of it."""
        for number in list(self._open):
            self.did(number, pid, "the process ended; another is started in its place", has_ended=True)

    def finished(self, now: float) -> list[Change]:
        """The changes that all have answered, or whose time is over; they are forgotten here."""
        over = [
            number for number, change in self._open.items() if not change.missing or change.deadline <= now
        ]
        found = [self._open.pop(number) for number in over]
        for change in found:
            change.errors += [[place, "it has not answered"] for place in change.missing.values()]
            if change.verb == LOAD and change.refused == change.count:
                self._last.pop(change.name)
                if change.previous is not None:
                    self._last[change.name] = change.previous
        return found

    def next_deadline(self) -> float | None:
        """When ``finished`` has to be asked at the latest."""
        return min((change.deadline for change in self._open.values()), default=None)

    def missed(self, since: float) -> list[list[str]]:
        """[verb, model] that a worker has to do before it serves: what began after ``since``, when it was born or last told."""
        return [[verb, name] for name, (verb, at) in self._last.items() if at >= since]

    def unloaded(self) -> frozenset[str]:
        """The models that a worker which starts now leaves alone."""
        return frozenset(name for name, (verb, _) in self._last.items() if verb == UNLOAD)


def sentence(verb: str, name: str, count: int, errors: list[list[object]], is_undone: bool) -> str:
    """What went wrong with a change in ``count`` workers, for whoever asked for it."""
    texts = {str(text) for _, text in errors}
    if len(errors) == count and len(texts) == 1:
        return texts.pop()
    each = "; ".join(f"worker {place}: {text}" for place, text in errors)
    now = "the model is unloaded in all of them now: load" if is_undone else "do"
    return f"{verb} of model {name} failed in {len(errors)} of {count} processes: {each}; {now} it again once the cause is gone"
