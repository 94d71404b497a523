"""What one reconcile looked at, and what it decided: the values between the shell and the pure core.

Filled by ``reconcile`` from the ``Cluster`` port, read by ``plan`` and ``controller.status``. Objects are plain JSON
and must not be changed. Invariant: ``plan`` needs nothing that is not in ``Observed`` and the instant it is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from controller.desired.composition import ComposedPod, Runtimes
from controller.desired.configuration import Configuration
from controller.desired.metadata import ScalingFacts
from controller.desired.reasons import Reason
from controller.desired.rollout import Rollout
from wakeful.core.api.inferenceservice import Component
from wakeful.core.api.isvc_problem import Obj


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a component could not be built or written."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Platform:
    """Facts about the cluster that are not about one InferenceService."""

    is_knative_installed: bool = True
    ingress_class: str = ""
    """``ingress-class`` of Knative's ConfigMap config-network; "" when it is not set."""
    scaling: ScalingFacts = field(default_factory=ScalingFacts)


@dataclass(frozen=True, slots=True)
class Observed:
    """The world around one InferenceService."""

    isvc: Obj
    config: Configuration = field(default_factory=Configuration)
    platform: Platform = field(default_factory=Platform)
    runtimes: Runtimes = field(default_factory=Runtimes)
    services: Mapping[str, Obj] = field(default_factory=dict)
    """Knative Services by name: those of the components' names, and all that carry our label."""
    ingress: Obj | None = None
    alias: Obj | None = None
    pods: tuple[Obj, ...] = ()
    failures: Mapping[str, Failure] = field(default_factory=dict)
    """By component: what went wrong when this reconcile wrote its objects."""


@dataclass(frozen=True, slots=True)
class EventNote:
    """A Kubernetes Event about the InferenceService; ``type`` is Normal or Warning."""

    type: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Child:
    """An object to apply; a refusal becomes the failure of ``component`` ("" for the ingress)."""

    component: str
    obj: Obj


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do, in order: apply, delete, write the status (None: leave it), emit events."""

    reason: Reason
    sentence: str
    apply: tuple[Child, ...] = ()
    delete: tuple[Obj, ...] = ()
    status: Obj | None = None
    events: tuple[EventNote, ...] = ()


@dataclass(frozen=True, slots=True)
class Part:
    """One component after looking at it: what it should be (None: it cannot be built), what it is."""

    component: Component
    live: Obj | None
    desired: Obj | None
    pod: ComposedPod | None
    failure: Failure | None
    rollout: Rollout
