"""Identifiers: their forms, and that no two are alike, in forked children too."""

from __future__ import annotations

import os
import uuid

from wakeful.serving import ids


def test_forms() -> None:
    for _ in range(2 * ids.KEPT + 1):
        made = ids.request_id()
        assert len(made) == 32 and made == f"{int(made, 16):032x}"
        answer = uuid.UUID(ids.answer_id())
        assert (answer.version, answer.variant) == (4, uuid.RFC_4122)


def test_no_two_are_alike() -> None:
    made = [ids.request_id() for _ in range(3 * ids.KEPT)] + [
        ids.answer_id().replace("-", "") for _ in range(ids.KEPT)
    ]
    assert len(set(made)) == len(made)


def test_a_forked_child_makes_its_own() -> None:
    ids.request_id()  # some are kept
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, "\n".join(ids.request_id() for _ in range(20)).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        of_child = told.read().split("\n")
    os.waitpid(child, 0)
    assert len(of_child) == 20
    assert not set(of_child) & {ids.request_id() for _ in range(ids.KEPT)}
