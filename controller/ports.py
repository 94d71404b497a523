"""The port through which the controller sees and changes the cluster, in the controller's own words.

Implemented by ``controller.cluster`` (a Kubernetes API, real or embedded: the controller cannot tell) and by the world
of the tests. Invariant: ``apply`` of an object that is already so writes nothing.
"""

from __future__ import annotations

from typing import Protocol

from controller.observed import EventNote, Observed
from wakeful.core.api.isvc_problem import Obj


class ApplyRefusedError(Exception):
    """The API server (or an admission webhook) will not take the object as it is; the text is its message."""


class ClusterUnavailableError(Exception):
    """The call failed for a reason that may pass: connection, overload, a conflict, a webhook that is away."""


class Cluster(Protocol):
    """Five calls; each may raise ``ClusterUnavailableError``."""

    async def observe(self, namespace: str, name: str) -> Observed | None:
        """The world around an InferenceService; None when it does not exist."""

    async def apply(self, obj: Obj) -> Obj:
        """Server-side apply as our field manager; the object as it is afterwards. Raises ``ApplyRefusedError``."""

    async def delete(self, obj: Obj) -> None:
        """Delete exactly this object (its uid guards); absent is success."""

    async def patch_status(self, isvc: Obj, status: Obj) -> bool:
        """Replace ``status``, guarded by the resourceVersion of ``isvc``; False when it has changed or gone since."""

    async def emit(self, isvc: Obj, note: EventNote) -> None:
        """Record an Event about ``isvc``. Never raises: an Event that cannot be written is only logged."""
