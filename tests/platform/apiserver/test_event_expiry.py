"""Events end after an hour; a user's own kubeconfig settings outlive a restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from standalone.apiserver import credentials
from standalone.apiserver.expiry import LIFE_S, EventExpiry
from standalone.apiserver.store import Store


def event(name: str, note: str = "") -> dict[str, Any]:
    metadata = {"name": name, "namespace": "default", "uid": f"uid-{name}"}
    return {"apiVersion": "v1", "kind": "Event", "metadata": metadata, "message": note}


async def test_an_hour_after_the_last_write(store: Store) -> None:
    now = 0.0
    before = await store.put("events", ("default", "before"), event("before"), None)
    expiry = EventExpiry(store, lambda: now)
    store.listen(expiry.on_events)
    await store.put("events", ("default", "new"), event("new"), None)
    config = event("kept") | {"kind": "ConfigMap"}
    await store.put("configmaps", ("default", "kept"), config, None)
    now = LIFE_S - 1
    await expiry.sweep()
    assert len(store.bucket("events").ordered()) == 2
    await store.put("events", ("default", "before"), event("before", "again"), before)
    now = LIFE_S + 1
    await expiry.sweep()
    assert [entry.key[1] for entry in store.bucket("events").ordered()] == ["before"]
    now = 2 * LIFE_S
    await expiry.sweep()
    assert store.bucket("events").ordered() == []
    assert len(store.bucket("configmaps").ordered()) == 1


def test_a_current_namespace_is_kept_and_another_port_is_not(tmp_path: Path) -> None:
    credentials.ensure(tmp_path, 6443)
    path = tmp_path / "kubeconfig"
    path.write_text(path.read_text().replace("namespace: default", "namespace: mine"))
    credentials.ensure(tmp_path, 6443)
    assert "namespace: mine" in path.read_text()
    credentials.ensure(tmp_path, 6444)
    assert "server: https://127.0.0.1:6444" in path.read_text()
