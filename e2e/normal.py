"""Takes out of an observation what differs between two runs by nature. Pure: values in, values out.

Times, uids, resource versions and random name endings become words; the namespace, the domain and the image become
NAMESPACE, DOMAIN and IMAGE. Everything else is left as it is, so that a difference between the homes stays one.
Worked example: ``iris-predictor-00001-deployment-6c5d8-x2x9p`` in namespace e2e-iris-0a1b2c is ``...-deployment-POD``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

DROPPED = frozenset(
    {
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "deletionTimestamp",
        "managedFields",
        "selfLink",
        "lastTransitionTime",
        "lastInferredTime",
    }
)
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
POD = re.compile(r"(?<=-deployment-)[a-z0-9]{5,10}(-[a-z0-9]{5})?\b")
UID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
DIGEST = re.compile(r"@sha256:[0-9a-f]{64}|\bsha256:[0-9a-f]{64}\b")
AGE = re.compile(r"(?<= )(\d+[smhd])+(?=\s|$)")


@dataclass(frozen=True, slots=True)
class Names:
    """What is called otherwise in each run."""

    namespace: str
    domain: str
    """Domain of public URLs, with the port where there is one."""
    images: tuple[str, ...] = ()


def value(found: Any, names: Names) -> Any:
    """The observation without what differs by nature."""
    if isinstance(found, dict):
        kept = {key: value(item, names) for key, item in found.items() if key not in DROPPED}
        return {text(key, names): item for key, item in sorted(kept.items())}
    if isinstance(found, list):
        return [value(item, names) for item in found]
    return text(found, names) if isinstance(found, str) else found


def text(found: str, names: Names) -> str:
    """The same for one text."""
    for image in names.images:
        found = found.replace(image, "IMAGE")
    found = found.replace("dev.local/", "").replace(names.namespace, "NAMESPACE")
    for domain in (names.domain, names.domain.partition(":")[0]):  # some fields have the port, some do not
        found = found.replace(domain, "DOMAIN")
    for pattern, word in ((TIME, "TIME"), (UID, "UID"), (DIGEST, "DIGEST"), (POD, "POD")):
        found = pattern.sub(word, found)
    return found


def columns(found: str, names: Names) -> list[list[str]]:
    """The cells of kubectl's table, without the padding and with ages as AGE."""
    rows = [re.split(r"\s{2,}", AGE.sub("AGE", line).strip()) for line in found.splitlines() if line.strip()]
    return [[text(cell, names) for cell in row] for row in rows]
