"""What the handlers share: the store, the kinds, the watch hub, admission, the clock. A parts list, no behaviour.

Made once by ``__main__`` (``assembly``), passed to every handler. Invariant: immutable after start.
"""

from __future__ import annotations

import datetime
import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from standalone.apiserver.credentials import Credentials
from standalone.apiserver.kinds_registry import Registry
from standalone.apiserver.settings import Settings
from standalone.apiserver.store import Store
from wakeful.core.api import instants

if TYPE_CHECKING:
    from standalone.apiserver.admission import Admission
    from standalone.apiserver.store_pages import Pages
    from standalone.apiserver.watch import Hub

SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"


def utc_now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def new_suffix() -> str:
    """Five random characters, as ``generateName`` adds them."""
    return "".join(secrets.choice(SUFFIX_LETTERS) for _ in range(5))


@dataclass(frozen=True, slots=True)
class Context:
    """Everything a handler may need."""

    settings: Settings
    credentials: Credentials
    store: Store
    registry: Registry
    hub: Hub
    pages: Pages
    admission: Admission
    now: Callable[[], datetime.datetime] = utc_now
    new_uid: Callable[[], str] = field(default=lambda: str(uuid.uuid4()))

    def stamp(self) -> str:
        """The present instant as Kubernetes writes it."""
        return instants.render(self.now())
