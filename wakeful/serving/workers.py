"""Several processes behind one port (``--workers N``): start, watch, replace, drain them, and add up their metrics.

Called by ``server`` with what each process runs. The listening sockets are bound here and inherited, not one each by
SO_REUSEPORT: a worker that dies takes no waiting connections with it, and an idle one accepts. Nobody listens before
every worker has loaded, so the first readiness answer speaks for all. No thread and no event loop here, so forking is
safe at any time; workers die with this process. Left out: what a worker does (``worker``).

Invariant: at most N workers run; after SIGTERM all are asked to drain and none is left behind.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from wakeful.kit import listening, logs
from wakeful.serving import worker_pages
from wakeful.serving.worker import Worker
from wakeful.serving.worker_changes import UNLOAD, Change, Changes

PR_SET_PDEATHSIG = 1
REPORT_S = 1.0
"""How long a scrape waits for a worker's numbers; after that its last ones count."""
STEADY_S = 10.0
"""A worker that lived so long is replaced at once; one that ends sooner after a pause that doubles."""
PAUSE_S = (0.5, 30.0)
GRACE_S = 5.0
"""Beyond ``drain_s``, for workers to end; then they are killed."""
MAX_UNSENT_BYTES = 16 << 20

log = logs.get("serving")


@dataclass(slots=True)
class _Child:
    """One worker as the supervisor sees it."""

    place: int
    pid: int
    control: socket.socket
    born: float
    told: float
    """When it was born, or last told what it had missed."""
    is_loaded: bool = False
    received: bytearray = field(default_factory=bytearray)
    unsent: bytearray = field(default_factory=bytearray)
    page: list[worker_pages.Family] = field(default_factory=list)


@dataclass(slots=True)
class _Scrape:
    """A page that a worker was asked for."""

    asker: int
    number: int
    missing: set[int]
    deadline: float


class Supervisor:
    """The parent of ``count`` workers. ``run`` is its whole life."""

    def __init__(
        self, count: int, main: Callable[[Worker], int], sockets: list[socket.socket], drain_s: float
    ) -> None:
        self._count = count
        self._main = main
        self._sockets = sockets
        self._drain_s = drain_s
        self._children: dict[int, _Child] = {}
        self._selector = selectors.DefaultSelector()
        self._scrapes: dict[int, _Scrape] = {}
        self._scrape = 0
        self._changes = Changes()
        self._retired: list[worker_pages.Family] = []
        self._restarts = 0
        self._pause_s = [0.0] * count
        self._due: dict[int, float] = dict.fromkeys(range(count), 0.0)
        self._has_begun = False
        self._stopping_until: float | None = None
        self._status = 0

    def run(self) -> int:
        """Until a signal and the end of every worker, or until the first start fails. The exit status."""
        gc.freeze()  # what is imported stays shared between the workers
        wake, waker = socket.socketpair()
        wake.setblocking(False)
        waker.setblocking(False)
        before = signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        handlers = {number: signal.signal(number, lambda *_: None) for number in _SIGNALS}
        self._selector.register(wake, selectors.EVENT_READ, None)
        try:
            while self._due or self._children:
                self._start_due()
                for key, events in self._selector.select(self._sleep_s()):
                    if key.data is None:
                        self._on_signals(wake.recv(64))
                    else:
                        self._on_control(key.data, events)
                self._reap()
                self._on_time()
            return self._status
        finally:
            signal.set_wakeup_fd(before)
            for number, handler in handlers.items():
                signal.signal(number, handler)
            wake.close()
            waker.close()

    # --- starting ---

    def _start_due(self) -> None:
        now = time.monotonic()
        for place in [place for place, at in self._due.items() if at <= now]:
            del self._due[place]
            self._fork(place)

    def _fork(self, place: int) -> None:
        ours, theirs = socket.socketpair()
        sys.stdout.flush()
        sys.stderr.flush()
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        parent, born = os.getpid(), time.monotonic()
        pid = os.fork()
        if pid == 0:
            self._become_worker(place, parent, ours, theirs)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        theirs.close()
        ours.setblocking(False)
        child = _Child(place, pid, ours, born, told=born)
        self._children[pid] = child
        self._selector.register(ours, selectors.EVENT_READ, child)

    def _become_worker(self, place: int, parent: int, ours: socket.socket, theirs: socket.socket) -> None:
        """In the child: forget the supervisor, run, leave. Never returns."""
        status = 70
        try:
            signal.set_wakeup_fd(-1)
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            if sys.platform.startswith("linux"):
                ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != parent:
                return
            ours.close()
            self._selector.close()
            for child in self._children.values():
                child.control.close()
            status = self._main(Worker(place, theirs, self._sockets, self._changes.unloaded()))
        except SystemExit as leaving:
            status = leaving.code if isinstance(leaving.code, int) else 1
        except BaseException as error:
            log.error("worker failed", worker=place, error=f"{type(error).__name__}: {error}"[:500])
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    # --- what comes in ---

    def _on_signals(self, numbers: bytes) -> None:
        if (
            any(number in (signal.SIGTERM, signal.SIGINT) for number in numbers)
            and self._stopping_until is None
        ):
            self._stop(self._drain_s + GRACE_S)

    def _stop(self, within_s: float) -> None:
        """No more workers, no more connections here; each worker drains by itself."""
        self._stopping_until = time.monotonic() + within_s
        self._due.clear()
        for listener in self._sockets:
            listener.close()
        for child in self._children.values():
            _kill(child.pid, signal.SIGTERM)

    def _on_control(self, child: _Child, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            self._flush(child)
        if not events & selectors.EVENT_READ:
            return
        try:
            data = child.control.recv(1 << 16)
        except (BlockingIOError, ConnectionError):
            return
        if not data:
            with contextlib.suppress(KeyError):
                self._selector.unregister(child.control)
            return
        child.received += data
        while (end := child.received.find(b"\n")) >= 0:
            line = bytes(child.received[:end])
            del child.received[: end + 1]
            self._on_message(child, orjson.loads(line))

    def _on_message(self, child: _Child, message: dict[str, Any]) -> None:
        if "loaded" in message:
            self._loaded(child)
        elif "change" in message:
            self._begin_change(child, message["change"], (message["verb"], message["name"]))
        elif "did" in message:
            self._changes.did(message["did"], child.pid, message["error"])
        elif "ask" in message:
            self._scrape += 1
            everybody = [item for item in self._children.values() if item.is_loaded]
            missing = {item.pid for item in everybody}
            self._scrapes[self._scrape] = _Scrape(
                child.pid, message["ask"], missing, time.monotonic() + REPORT_S
            )
            for each in everybody:
                self._send(each, {"report": self._scrape})
        elif "page" in message:
            child.page = message["families"]
            scrape = self._scrapes.get(message["page"])
            if scrape is not None:
                scrape.missing.discard(child.pid)

    def _loaded(self, child: _Child) -> None:
        """A worker could serve, once it has made up for the changes that it missed, and (at the start) all others could."""
        missed = self._changes.missed(child.told)
        if missed:
            child.told = time.monotonic()
            self._send(child, {"missed": missed})
            return
        child.is_loaded = True
        if self._has_begun:
            self._send(child, {"go": True})
        elif sum(item.is_loaded for item in self._children.values()) == self._count:
            self._has_begun = True
            for each in self._children.values():
                self._send(each, {"go": True})

    def _begin_change(self, child: _Child, asked: int, what: tuple[str, str]) -> None:
        number = self._changes.begin(child.pid, asked, what, self._serving(), time.monotonic())
        if number is None:
            text = f"model {what[1]} is being loaded or unloaded already: try again later"
            self._send(
                child, {"changed": asked, "count": 1, "errors": [[child.place, text]], "is_undone": False}
            )
            return
        self._have_done(number, what)

    def _serving(self) -> dict[int, int]:
        """Pid to place of the workers that serve."""
        return {child.pid: child.place for child in self._children.values() if child.is_loaded}

    def _have_done(self, number: int, what: tuple[str, str]) -> None:
        for pid in self._serving():
            self._send(self._children[pid], {"do": number, "verb": what[0], "name": what[1]})

    def _end_change(self, change: Change, now: float) -> None:
        """Tell the asker how a change ended, once a load that is in some workers only is in none."""
        if change.is_half_done:
            number = self._changes.undo(change, self._serving(), now)
            self._have_done(number, (UNLOAD, change.name))
        elif (asker := self._children.get(change.asker)) is not None:
            told = change.undoes or change
            answer = {"count": told.count, "errors": told.errors, "is_undone": change.undoes is not None}
            self._send(asker, {"changed": change.number, **answer})

    def _on_time(self) -> None:
        now = time.monotonic()
        for change in self._changes.finished(now):
            self._end_change(change, now)
        for number, scrape in list(self._scrapes.items()):
            if not scrape.missing or scrape.deadline <= now:
                del self._scrapes[number]
                asker = self._children.get(scrape.asker)
                if asker is not None:
                    self._send(asker, {"pages": scrape.number, "families": self._page()})
        if self._stopping_until is not None and self._stopping_until <= now:
            for child in self._children.values():
                _kill(child.pid, signal.SIGKILL)

    def _page(self) -> list[worker_pages.Family]:
        alive = sum(child.is_loaded for child in self._children.values())
        own: list[worker_pages.Family] = [
            [
                "wakeful_serving_workers",
                "gauge",
                "Worker processes that serve",
                [["wakeful_serving_workers", [], alive]],
            ],
            [
                "wakeful_serving_worker_restarts",
                "counter",
                "Workers that were replaced",
                [["wakeful_serving_worker_restarts_total", [], self._restarts]],
            ],
        ]
        return worker_pages.merge([self._retired, *(child.page for child in self._children.values()), own])

    # --- endings ---

    def _reap(self) -> None:
        for child in list(self._children.values()):
            try:
                pid, raw = os.waitpid(child.pid, os.WNOHANG)
            except ChildProcessError:
                pid, raw = child.pid, 1 << 8
            if pid:
                self._ended(child, os.waitstatus_to_exitcode(raw))

    def _ended(self, child: _Child, code: int) -> None:
        status = code if code >= 0 else 128 - code
        del self._children[child.pid]
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(child.control)
        child.control.close()
        self._retired = worker_pages.merge([self._retired, worker_pages.lasting(child.page)])
        for scrape in self._scrapes.values():
            scrape.missing.discard(child.pid)
        self._changes.ended(child.pid)
        if self._stopping_until is not None:
            self._status = self._status or (status if code != -signal.SIGTERM else 0)
            return
        if not self._has_begun:
            self._status = status or 1
            self._stop(0.0)
            return
        lived_s = time.monotonic() - child.born
        before = self._pause_s[child.place]
        pause_s = 0.0 if lived_s >= STEADY_S else min(max(PAUSE_S[0], before * 2), PAUSE_S[1])
        self._pause_s[child.place] = pause_s
        self._due[child.place] = time.monotonic() + pause_s
        self._restarts += 1
        log.error(
            "worker ended",
            worker=child.place,
            pid=child.pid,
            exit_code=status,
            lived_s=round(lived_s, 1),
            next_in_s=pause_s,
        )

    def _sleep_s(self) -> float:
        ends = [*self._due.values(), *(scrape.deadline for scrape in self._scrapes.values())]
        ends += [end for end in (self._stopping_until, self._changes.next_deadline()) if end is not None]
        return max(0.0, min(min(ends) - time.monotonic(), 60.0)) if ends else 60.0

    # --- what goes out ---

    def _send(self, child: _Child, message: dict[str, Any]) -> None:
        child.unsent += orjson.dumps(message) + b"\n"
        if len(child.unsent) > MAX_UNSENT_BYTES:
            _kill(child.pid, signal.SIGKILL)  # it has not read for a long time: stopped or broken
        self._flush(child)

    def _flush(self, child: _Child) -> None:
        try:
            while child.unsent:
                del child.unsent[: child.control.send(child.unsent)]
        except BlockingIOError:
            pass
        except OSError:
            child.unsent.clear()  # it is ending; its end will be noticed
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if child.unsent else 0)
        with contextlib.suppress(KeyError, ValueError):
            self._selector.modify(child.control, wanted, child)


_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGCHLD})


def _kill(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def bind(host: str, ports: list[int]) -> list[socket.socket]:
    """Bound sockets for every worker to accept on. Raises ``listening.ListenError``."""
    sockets: list[socket.socket] = []
    for port in ports:
        try:
            found = listening.bind(host, port)
            if found is None:
                found = listening.bind(
                    str(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4][0]), port
                )
        except OSError as error:
            raise listening.ListenError(listening.sentence(f"tcp:{host}:{port}", error)) from error
        if found is None:
            raise listening.ListenError(f"{host} is no address: use a numeric one")
        sockets.append(found)
    return sockets
