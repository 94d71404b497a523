"""What a scenario may ask of the place it runs in: the port that both homes implement.

Scenarios speak to a Kubernetes API and to an ingress; everything that differs between the homes (how they start, what an
image is called, how a part of them is killed) is behind these few methods. Left out: anything a user does with kubectl.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol


class Part(StrEnum):
    """A part of the platform that a scenario can end without warning."""

    CONTROLLER = "controller"
    API_SERVER = "apiserver"
    NODE = "node"
    """The agent that runs the pods: the kubelet, or our own node process. Its pods live on."""
    EVERYTHING = "everything"
    """A power cut: every process of the platform and every pod at once. What was stored is all that is left."""


@dataclass(frozen=True, slots=True)
class Access:
    """How a home is reached. Known once it has started."""

    kubeconfig: Path
    ingress: str
    """``http://HOST:PORT`` of the way in; requests carry the model's name as Host."""
    host_address: str
    """An address of this machine that pods can reach, for servers that a test starts."""
    python_image: str
    """An image with ``python3`` on its PATH in which ``import wakeful`` works."""


class HomeError(Exception):
    """A home could not be started or does not do what it must; the text is for the person who runs the suite."""


class Home(Protocol):
    """One place where the platform runs."""

    name: str
    parts: frozenset[Part]
    """What ``kill`` can end here."""
    can_make_images: bool
    """Whether ``provide_image`` works here."""

    def start(self) -> Access:
        """Start the platform, or find it; returns when it is ready. Raises ``HomeError``."""

    def stop(self) -> None:
        """End what ``start`` started."""

    def provide_volume(self, namespace: str, claim: str) -> None:
        """See to it that the claim, which is about to be made, can be bound."""

    def provide_image(self, name: str, program: Path) -> None:
        """Make the image NAME:TAG known to the nodes: a user's Python program on our base. Raises ``HomeError``."""

    def kill(self, part: Part) -> None:
        """End a part with SIGKILL and return when its successor answers. Raises ``HomeError``."""

    def second_controller(self) -> AbstractContextManager[None]:
        """Within the block two controllers run; afterwards as many as before."""

    def diagnose(self) -> str:
        """What the platform's own logs say, for a failed scenario."""
