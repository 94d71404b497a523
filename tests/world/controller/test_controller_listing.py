"""The controller's first picture: every page of every kind, only ours of what others have, asked again until it is there."""

from __future__ import annotations

from urllib.parse import parse_qs

from controller import listing
from controller.cache import INFERENCE_SERVICES, KNATIVE_SERVICES, Cache
from controller.connection import ApiFailureError
from wakeful.core.api import isvc_names as names
from wakeful.kit.kube import PODS, SERVICES, Obj


class Server:
    """Answers lists of two objects a page; ``asked`` are the paths; the first ``failing`` answers are errors."""

    def __init__(self, kinds: dict[str, int], labels: Obj, failing: int = 0) -> None:
        self.kinds, self.labels, self.failing = kinds, labels, failing
        self.asked: list[str] = []

    async def read(self, path: str) -> Obj | None:
        self.asked.append(path)
        if self.failing:
            self.failing -= 1
            raise ApiFailureError(503, "away")
        collection, _, query = path.partition("?")
        if collection not in self.kinds:
            return None
        first = int(parse_qs(query).get("continue", ["0"])[0])
        last = min(first + 2, self.kinds[collection])
        items = [
            {
                "metadata": {
                    "namespace": "ns",
                    "name": f"m{number}",
                    "resourceVersion": "5",
                    "labels": self.labels,
                }
            }
            for number in range(first, last)
        ]
        token = {"continue": str(last)} if last < self.kinds[collection] else {}
        head = {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceServiceList"}
        return {**head, "metadata": {"resourceVersion": "9", **token}, "items": items}


LABELS = {names.ISVC_LABEL: "m"}


async def test_every_page_of_a_kind_is_read_and_items_know_their_kind() -> None:
    cache, server = Cache(), Server({INFERENCE_SERVICES.path(): 5}, {})
    await listing.fill(server.read, cache)
    assert len(cache.keys(INFERENCE_SERVICES)) == 5
    assert cache.keys(KNATIVE_SERVICES) == [], "a kind that is not served is left out"
    kept = cache.get(INFERENCE_SERVICES, "ns", "m4")
    assert kept is not None
    assert (kept["apiVersion"], kept["kind"]) == ("serving.kserve.io/v1beta1", "InferenceService")


async def test_pods_and_services_are_asked_for_by_label_and_others_are_not_kept() -> None:
    for labels, count in ((LABELS, 3), ({}, 0)):
        cache, server = Cache(), Server({PODS.path(): 3, SERVICES.path(): 3}, labels)
        await listing.fill(server.read, cache)
        assert (len(cache.keys(PODS)), len(cache.keys(SERVICES))) == (count, count)
        asked = [path for path in server.asked if path.startswith((PODS.path() + "?", SERVICES.path() + "?"))]
        assert asked
        assert all("labelSelector=serving.kserve.io%2Finferenceservice" in path for path in asked)


async def test_a_server_that_is_away_is_asked_again() -> None:
    cache, server = Cache(), Server({INFERENCE_SERVICES.path(): 1}, {}, failing=1)
    await listing.fill(server.read, cache)
    assert len(cache.keys(INFERENCE_SERVICES)) == 1


async def test_what_was_listed_is_known_and_what_changed_since_is_not() -> None:
    cache, server = Cache(), Server({INFERENCE_SERVICES.path(): 1}, {})
    await listing.fill(server.read, cache)
    same: Obj = {"metadata": {"namespace": "ns", "name": "m0", "resourceVersion": "5"}}
    assert cache.knows(INFERENCE_SERVICES, same)
    for changed in ({"resourceVersion": "6"}, {"name": "m1"}, {"uid": "another"}):
        assert not cache.knows(INFERENCE_SERVICES, {"metadata": {**same["metadata"], **changed}})
