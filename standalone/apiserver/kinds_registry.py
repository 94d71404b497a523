"""Which kinds are served now: the core table and those of the established CustomResourceDefinitions.

Read by routing, discovery, OpenAPI and the controllers in this process; ``set_definition`` and ``drop_definition``
are called when a definition becomes visible or goes, so a route appears with the answer to its definition.

Invariant: ``generation`` rises with every change, which is what caches of discovery and OpenAPI compare.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from standalone.apiserver.kinds import Kind
from standalone.apiserver.kinds_core import CORE


class Registry:
    """The served kinds."""

    def __init__(self, core: Sequence[Kind] = CORE) -> None:
        self._routes: dict[tuple[str, str, str], Kind] = {}
        self._definitions: dict[str, tuple[Kind, ...]] = {}
        self.generation = 1
        for kind in core:
            self._add(kind)

    def _add(self, kind: Kind) -> None:
        self._routes[(kind.group, kind.version, kind.plural)] = kind

    def _remove(self, kind: Kind) -> None:
        self._routes.pop((kind.group, kind.version, kind.plural), None)

    def set_definition(self, name: str, kinds: Iterable[Kind]) -> None:
        """Serve the versions of one definition in place of those it had."""
        for old in self._definitions.get(name, ()):
            self._remove(old)
        self._definitions[name] = tuple(kinds)
        for kind in self._definitions[name]:
            self._add(kind)
        self.generation += 1

    def drop_definition(self, name: str) -> None:
        self.set_definition(name, ())
        del self._definitions[name]

    def route(self, group: str, version: str, plural: str) -> Kind | None:
        """The kind at ``/apis/GROUP/VERSION/PLURAL``."""
        return self._routes.get((group, version, plural))

    def of_resource(self, resource: str) -> Kind | None:
        """The storage version's kind of a resource such as ``pods`` (any served version when that is not served)."""
        plural, _, group = resource.partition(".")
        found = [kind for kind in self._routes.values() if kind.group == group and kind.plural == plural]
        stored = [kind for kind in found if kind.version == kind.storage_version]
        return next(iter(stored or found), None)

    def definition(self, name: str) -> tuple[Kind, ...]:
        """The kinds served for one definition."""
        return self._definitions.get(name, ())

    def kinds(self) -> list[Kind]:
        """All served kinds, core first, each group's in the order they were added."""
        return list(self._routes.values())

    def versions(self, group: str) -> list[str]:
        """The served versions of a group, preferred first: GA before beta before alpha, higher numbers first."""
        found = {kind.version for kind in self._routes.values() if kind.group == group}
        return sorted(found, key=version_rank, reverse=True)

    def groups(self) -> list[str]:
        """The served groups but the core one, in the order they were added."""
        return list(dict.fromkeys(kind.group for kind in self._routes.values() if kind.group))


def version_rank(version: str) -> tuple[int, int, int]:
    """Kubernetes' priority of version names: v2 > v1 > v1beta2 > v1beta1 > v1alpha1 > anything else."""
    body = version.removeprefix("v")
    for stage, word in ((1, "beta"), (0, "alpha")):
        major, found, minor = body.partition(word)
        if found and major.isdigit() and minor.isdigit():
            return stage, int(major), int(minor)
    return (2, int(body), 0) if body.isdigit() and body != version else (-1, 0, 0)
