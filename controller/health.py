"""What the admin page's ``/healthz`` says of the controller: ready to answer webhooks, and to act.

Filled by ``__main__``. Being the leader is no part of it: a replica that only answers webhooks is healthy.
"""

from __future__ import annotations

from controller.platform_watch import PlatformWatch
from controller.webhooks.authority import Authority


class Health:
    """The parts that must be well."""

    def __init__(self) -> None:
        self.is_watching = False
        self.authority: Authority | None = None
        self.platform: PlatformWatch | None = None

    def problem(self) -> str | None:
        """One sentence, or None."""
        if self.authority is None or self.platform is None:
            return "waiting for the API server"
        if self.platform.blocking:
            return self.platform.blocking
        if not self.authority.is_installed:
            return "the WebhookConfigurations named wakeful are not installed yet"
        return None if self.is_watching else "kopf is not watching yet"
