"""What is configured outside of any InferenceService: our ConfigMap, Knative's, and whether Knative is there.

``run`` reads four objects every few seconds and asks for all InferenceServices to be looked at when one of them
changed; reconciles and webhooks use the last picture. A watch would need the right to read every ConfigMap. Invariant:
while the API server is away the last picture stays in use.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from controller import prerequisites
from controller.connection import Api, ApiFailureError
from controller.desired import configuration, images
from controller.desired.configuration import Configuration
from controller.desired.metadata import ScalingFacts
from controller.observed import Platform
from wakeful.kit import logs
from wakeful.kit.kube import CONFIGMAPS, Obj

POLL_S = 3.0
FORBIDDEN = 403
KNATIVE_GROUP = "/apis/serving.knative.dev/v1"

log = logs.get("controller.facts")


class Facts:
    """The last picture; ``config`` and ``platform`` may be read at any time."""

    def __init__(
        self,
        api: Api,
        namespace: str,
        knative_namespace: str = "knative-serving",
        image_prefix: str = "",
    ) -> None:
        self._api = api
        self._image_prefix = image_prefix
        self._namespace = namespace
        self._knative_namespace = knative_namespace
        self.config = Configuration()
        self.platform = Platform()
        self.is_known = False

    async def refresh(self) -> bool:
        """Read everything once; whether anything changed. Raises ``ApiFailureError``."""
        ours, network, autoscaler, knative = await asyncio.gather(
            self._configmap(self._namespace, configuration.CONFIG_NAME),
            self._configmap(self._knative_namespace, "config-network"),
            self._configmap(self._knative_namespace, "config-autoscaler"),
            self._api.get(KNATIVE_GROUP),
        )
        allows_zero = (autoscaler.get("data") or {}).get("allow-zero-initial-scale") == "true"
        platform = Platform(
            is_knative_installed=prerequisites.serves(knative, "services"),
            ingress_class=prerequisites.ingress_class(network),
            scaling=ScalingFacts(is_zero_initial_scale_allowed=allows_zero),
        )
        config = configuration.parse(ours)
        image = images.prefixed(config.storage.image, self._image_prefix)
        config = replace(config, storage=replace(config.storage, image=image))
        is_changed = (config, platform) != (self.config, self.platform)
        self.config, self.platform, self.is_known = config, platform, True
        return is_changed

    async def run(self, on_change: Callable[[], None]) -> None:
        """Refresh for ever."""
        while True:
            try:
                if await self.refresh():
                    for problem in self.config.problems:
                        log.error("configuration not usable", problem=problem)
                    on_change()
            except ApiFailureError as error:
                log.debug("configuration not read", error=str(error))
            await asyncio.sleep(POLL_S if self.is_known else 0.2)

    async def _configmap(self, namespace: str, name: str) -> Obj:
        try:
            return await self._api.get(CONFIGMAPS.path(namespace, name)) or {}
        except ApiFailureError as error:
            if error.code == FORBIDDEN and namespace == self._knative_namespace:
                return {}  # the right to it could not be given before its namespace existed; platform_watch tells
            raise
