"""Logs are told to whoever reads them; that nobody can be told must not end the work they tell of."""

from __future__ import annotations

import io

import pytest

from wakeful.kit import logs


class Full(io.StringIO):
    """A stream on a full disk."""

    def flush(self) -> None:
        raise OSError(28, "No space left on device")


def closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize("stream", [Full(), closed()], ids=["full disk", "closed"])
def test_a_line_that_cannot_be_written_raises_nothing(stream: io.StringIO) -> None:
    """The API server logs that a commit failed before it answers the writers: it answered nobody on a full disk."""
    logs.Logger("test", stream=stream).error("commit failed", error="disk full")
