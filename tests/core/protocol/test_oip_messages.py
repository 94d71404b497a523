"""The descriptors are those of the proto files: who edits one and forgets ``hack/gen-proto`` is told here."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from wakeful.core.protocol import oip_messages
from wakeful.core.protocol.oip_descriptors import FILES

FOLDER = Path(oip_messages.__file__).parent / "proto"
FIELD = re.compile(r"(\w+) = (\d+);")
METHOD = re.compile(r"rpc (\w+)\(")


def fields(messages: Any) -> list[tuple[str, int]]:
    found = []
    for message in messages:
        if message.GetOptions().map_entry:
            continue
        found += [(field.name, field.number) for field in message.fields]
        found += [(value.name, value.number) for enum in message.enum_types for value in enum.values]
        found += fields(message.nested_types)
    return found


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.proto")), ids=lambda path: path.name)
def test_descriptors_are_fresh(path: Path) -> None:
    text = path.read_text()
    file = oip_messages.POOL.FindFileByName(path.name)
    wanted = sorted((name, int(number)) for name, number in FIELD.findall(text))
    assert sorted(fields(file.message_types_by_name.values())) == wanted
    methods = [m.name for service in file.services_by_name.values() for m in service.methods]
    assert methods == METHOD.findall(text)
    assert path.name in FILES


def test_the_default_pool_is_left_alone() -> None:
    from google.protobuf import descriptor_pool

    with pytest.raises(KeyError):
        descriptor_pool.Default().FindMessageTypeByName("inference.ModelInferRequest")
