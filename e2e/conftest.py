"""The home of this run, namespaces for the scenarios, and what is printed when one fails.

Options: ``--home standalone|cluster``; ``--kubeconfig`` and ``--ingress`` for a cluster that is already there;
``--dumps DIR``, into which the observed objects are written for the comparison of the homes.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e import iris, manifests, report
from e2e.dumps import Dumps
from e2e.homes import choose
from e2e.homes.port import Access, Home, HomeError
from e2e.kube import Kube
from e2e.waiting import until
from e2e.web import Ingress

LIMIT_S = 240
"""No scenario may take longer, whatever it waits for."""
STARTED, KUBE, NEWEST = pytest.StashKey[Home](), pytest.StashKey[Kube](), pytest.StashKey[str]()
"""What a failure's report needs: the home, its API, the namespace of the scenario."""
OURS = "isvc,ksvc,trigger,broker"
LAST_TO_GO = ("InferenceService", "KnativeService", "Route", "Ingress", "Broker", "Trigger", "Pod")
GONE_S = 150
"""For all namespaces together: a cluster's pods drain for 40 s first."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("wakeful e2e")
    group.addoption("--home", choices=choose.HOMES, default="standalone", help="where the scenarios run")
    group.addoption("--kubeconfig", help="use this cluster instead of starting one")
    group.addoption("--ingress", help="http://HOST:PORT of that cluster's ingress")
    group.addoption("--host-address", help="an address of this machine that the cluster's pods can reach")
    group.addoption("--dumps", type=Path, help="folder for what was observed, one file a home")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("timeout") is None:
            # without the fixtures, whose waits have bounds of their own: building a node from nothing takes minutes
            item.add_marker(pytest.mark.timeout(LIMIT_S, func_only=True))


@pytest.fixture(scope="session")
def home(request: pytest.FixtureRequest) -> Iterator[tuple[Home, Access]]:
    """The home, started."""
    options = request.config.option
    found = choose.build(options.home, options.kubeconfig, options.ingress, options.host_address)
    try:
        try:
            with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
                access = found.start()
        except HomeError as error:
            pytest.exit(f"the home `{found.name}` did not start: {error}", returncode=3)
        request.config.stash[STARTED] = found
        yield found, access
    finally:
        found.stop()


@pytest.fixture(scope="session")
def access(home: tuple[Home, Access]) -> Access:
    return home[1]


@pytest.fixture(scope="session")
def kube(request: pytest.FixtureRequest, access: Access) -> Iterator[Kube]:
    found = Kube(access.kubeconfig)
    request.config.stash[KUBE] = found
    yield found
    found.close()


@pytest.fixture(scope="session")
def ingress(access: Access) -> Ingress:
    return Ingress(access.ingress)


@pytest.fixture(scope="session")
def dumps(request: pytest.FixtureRequest, access: Access) -> Iterator[Dumps]:
    """Where a scenario leaves what it saw, to be compared with the other home."""
    made = Dumps(request.config.option.home)
    yield made
    folder: Path | None = request.config.option.dumps
    if folder is not None:
        made.write(folder)


@pytest.fixture(scope="session")
def new_namespace(request: pytest.FixtureRequest, kube: Kube) -> Iterator[Callable[[str], str]]:
    """Makes a namespace ``e2e-THEME-xxxxxx``; all of them are deleted at the end."""
    made: list[str] = []

    def make(theme: str) -> str:
        name = f"e2e-{theme}-{secrets.token_hex(3)}"
        made.append(name)
        request.config.stash[NEWEST] = name
        kube.apply(manifests.namespace(name))
        until(lambda: kube.find("ServiceAccount", name, "default"), 30, "the default ServiceAccount")
        return name

    yield make
    for name in made:
        kube.kubectl("delete", "namespace", name, "--wait=false", check=False)
    # not the namespaces themselves: a claim's protection may keep one for minutes after its last pod
    until(
        lambda: [f"{kind} in {name}" for name in made for kind in LAST_TO_GO if kube.items(kind, name)],
        GONE_S,
        "what was made to go",
        lambda left: not left,
    )


@pytest.fixture(scope="module")
def namespace(
    request: pytest.FixtureRequest, kube: Kube, new_namespace: Callable[[str], str]
) -> Iterator[str]:
    """A namespace for the scenarios of one file; what they made begins to go when the file is done."""
    name = new_namespace(request.module.__name__.rpartition("test_")[2].replace("_", "-"))
    yield name
    kube.kubectl("delete", OURS, "--all", "-n", name, "--wait=false", check=False)


@pytest.fixture(scope="session")
def trained() -> iris.Trained:
    """Two real models and what scikit-learn itself says."""
    return iris.train()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Add what one needs to a failed scenario: objects, events, pods' words, the platform's own logs."""
    made: Any = yield
    stash = item.config.stash
    if made.failed and NEWEST in stash:
        told = report.describe(stash[KUBE], stash[NEWEST])
        made.sections.append((f"objects and events of {stash[NEWEST]}", told))
        made.sections.append(("platform", stash[STARTED].diagnose()))
    return made
