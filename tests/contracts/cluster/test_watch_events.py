"""watch: every change once, in order, from any version that is still known."""

from __future__ import annotations

import threading

import pytest
from cluster_api import Api, Watch
from cluster_objects import config_map

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


def _version(api: Api, path: str) -> str:
    return str(api.get(path, labelSelector="none=none").ok()["metadata"]["resourceVersion"])


def _closes(watch: Watch) -> None:
    with pytest.raises(EOFError):
        while True:
            watch.next()


def test_changes_come_in_order_with_their_versions(api: Api, configmaps: str) -> None:
    with api.watch(configmaps, resourceVersion=_version(api, configmaps)) as watch:
        created = api.post(configmaps, config_map("a")).ok()
        changed = api.patch(f"{configmaps}/a", {"data": {"x": "1"}}).ok()
        api.delete(f"{configmaps}/a").ok()
        assert watch.take(3) == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]
        first, second, third = (event["object"] for event in watch.seen)
        assert (first, second) == (created, changed)
        versions = [int(obj["metadata"]["resourceVersion"]) for obj in (first, second, third)]
        assert versions == sorted(set(versions))
        assert third["data"] == {"x": "1"}


def test_history_is_replayed(api: Api, configmaps: str) -> None:
    before = _version(api, configmaps)
    api.post(configmaps, config_map("a")).ok()
    api.patch(f"{configmaps}/a", {"data": {"x": "1"}}).ok()
    api.delete(f"{configmaps}/a").ok()
    with api.watch(configmaps, resourceVersion=before) as watch:
        assert watch.take(3) == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]


def test_list_and_watch_miss_nothing_and_repeat_nothing(api: Api, configmaps: str) -> None:
    def write() -> None:
        own = Api(api.host, api.port, api.tls, api.headers, api.is_embedded, base=api.base)
        for index in range(60):
            own.post(configmaps, config_map(f"w-{index:03}")).ok()
        own.close()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        listed = api.get(configmaps).ok()
        names = [item["metadata"]["name"] for item in listed["items"]]
        with api.watch(configmaps, resourceVersion=listed["metadata"]["resourceVersion"]) as watch:
            while len([name for name in names if name.startswith("w-")]) < 60:
                names += [name for kind, name in watch.take(1) if kind == "ADDED"]
    finally:
        thread.join(30)
    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize("query", [{}, {"resourceVersion": "0"}, {"resourceVersion": ""}])
def test_without_a_version_the_present_comes_first(api: Api, configmaps: str, query: dict[str, str]) -> None:
    api.post(configmaps, config_map("a", {"contract": "yes"})).ok()
    api.post(configmaps, config_map("b", {"contract": "yes"})).ok()
    with api.watch(configmaps, labelSelector="contract", **query) as watch:
        assert sorted(watch.take(2)) == [("ADDED", "a"), ("ADDED", "b")]


def test_initial_events_end_with_a_marked_bookmark(api: Api, configmaps: str) -> None:
    api.post(configmaps, config_map("a", {"contract": "yes"})).ok()
    query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
    query |= {"allowWatchBookmarks": "true", "labelSelector": "contract"}
    with api.watch(configmaps, **query) as watch:
        event = watch.until(lambda event: event["type"] == "BOOKMARK")
        assert [item["type"] for item in watch.seen] == ["ADDED", "BOOKMARK"]
        metadata = event["object"]["metadata"]
        assert metadata["annotations"] == {"k8s.io/initial-events-end": "true"}
        assert int(metadata["resourceVersion"]) > 0
        assert (event["object"]["kind"], event["object"]["apiVersion"]) == ("ConfigMap", "v1")
        api.post(configmaps, config_map("b", {"contract": "yes"})).ok()
        assert watch.take(1) == [("ADDED", "b")]


def test_object_enters_and_leaves_a_selection(api: Api, configmaps: str) -> None:
    query = {"labelSelector": "color=red", "resourceVersion": _version(api, configmaps)}
    with api.watch(configmaps, **query) as watch:
        api.post(configmaps, config_map("a", {"color": "green"})).ok()
        api.patch(f"{configmaps}/a", {"metadata": {"labels": {"color": "red"}}}).ok()
        api.patch(f"{configmaps}/a", {"data": {"x": "1"}}).ok()
        left = api.patch(f"{configmaps}/a", {"metadata": {"labels": {"color": "blue"}}}).ok()
        api.delete(f"{configmaps}/a").ok()
        api.post(configmaps, config_map("end", {"color": "red"})).ok()
        expected = [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a"), ("ADDED", "end")]
        assert watch.take(4) == expected
        deleted = watch.seen[2]["object"]["metadata"]
        assert deleted["labels"] == {"color": "red"}
        assert deleted["resourceVersion"] == left["metadata"]["resourceVersion"]


def test_one_object_by_name(api: Api, configmaps: str) -> None:
    query = {"fieldSelector": "metadata.name=b", "resourceVersion": _version(api, configmaps)}
    with api.watch(configmaps, **query) as watch:
        for name in "abc":
            api.post(configmaps, config_map(name)).ok()
        api.delete(f"{configmaps}/b").ok()
        assert watch.take(2) == [("ADDED", "b"), ("DELETED", "b")]


def test_all_namespaces(api: Api, configmaps: str, namespace: str) -> None:
    version = _version(api, configmaps)
    with api.watch("/api/v1/configmaps", resourceVersion=version) as watch:
        api.post(configmaps, config_map("a")).ok()
        event = watch.until(lambda event: event["object"]["metadata"]["namespace"] == namespace)
        assert event["object"]["metadata"]["name"] in ("a", "kube-root-ca.crt")


def test_timeout_ends_the_stream_properly(api: Api, configmaps: str) -> None:
    with api.watch(configmaps, timeoutSeconds="1", resourceVersion=_version(api, configmaps)) as watch:
        assert watch.status == 200
        _closes(watch)


def test_forgotten_version_is_gone(api: Api, configmaps: str) -> None:
    with api.watch(configmaps, resourceVersion="1") as watch:
        if watch.status == 410:
            return
        event = watch.next()
        assert event["type"] == "ERROR"
        status = event["object"]
        assert (status["kind"], status["code"], status["reason"]) == ("Status", 410, "Expired")
        assert "too old resource version" in status["message"]
        _closes(watch)


@pytest.mark.parametrize("version", ["x", "-1", "1.5"])
def test_malformed_version_is_refused(api: Api, configmaps: str, version: str) -> None:
    # kube-apiserver answers 500 to this one, with the same words
    answer = api.get(configmaps, watch="true", resourceVersion=version)
    assert answer.status in (400, 500) and "invalid syntax" in answer.message


def test_malformed_selector_is_refused_before_the_stream(api: Api, configmaps: str) -> None:
    api.get(configmaps, watch="true", labelSelector="a in").fails(400, "BadRequest")


def test_tables_can_be_watched(api: Api, configmaps: str) -> None:
    version = _version(api, configmaps)
    with api.watch(configmaps, resourceVersion=version, headers={"Accept": TABLE}) as watch:
        api.post(configmaps, config_map("a")).ok()
        table = watch.next()["object"]
        assert table["kind"] == "Table"
        assert table["rows"][0]["cells"][0] == "a"


def test_many_watchers_see_the_same(api: Api, configmaps: str) -> None:
    version = _version(api, configmaps)
    seen: list[list[tuple[str, str]]] = []
    opened = threading.Barrier(9)

    def follow() -> None:
        with api.watch(configmaps, resourceVersion=version) as watch:
            opened.wait(10)
            seen.append(watch.take(20))

    threads = [threading.Thread(target=follow) for _ in range(8)]
    for thread in threads:
        thread.start()
    opened.wait(10)
    for index in range(20):
        api.post(configmaps, config_map(f"m-{index}")).ok()
    for thread in threads:
        thread.join(20)
    assert seen == [[("ADDED", f"m-{index}") for index in range(20)]] * 8
