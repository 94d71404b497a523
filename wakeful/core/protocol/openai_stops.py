"""Stop sequences in a stream: what may be sent now, and whether the answer ends.

``openai_local`` keeps one ``Stops`` a choice. Text that could be the beginning of a stop sequence is held back until
the next token decides. Worked example: with the sequence ``###``, ``a#`` sends ``a`` and holds ``#``; then ``#b``
sends ``##b``; then ``###`` ends the answer and sends nothing. Of several sequences the one that is complete first counts
(the longest where two end together), so it does not matter how the text was cut into tokens.

Invariant: what was sent, joined, never holds a stop sequence (unless the caller asked to see it), and at most the
longest sequence minus one character is held back.
"""

from __future__ import annotations

from collections.abc import Sequence


class Stops:
    """The search for ``sequences`` in one answer."""

    def __init__(self, sequences: Sequence[str], is_shown: bool = False) -> None:
        self._sequences = [sequence for sequence in sequences if sequence]
        self._longest = max(map(len, self._sequences), default=0)
        self._is_shown = is_shown
        self._held = ""

    def step(self, text: str) -> tuple[str, bool]:
        """What to send after ``text`` came, and whether a sequence was found."""
        if not self._sequences:
            return text, False
        text = self._held + text
        found = [(place + len(seq), len(seq)) for seq in self._sequences if (place := text.find(seq)) >= 0]
        if found:
            end, size = min(found, key=lambda pair: (pair[0], -pair[1]))
            self._held = ""
            return text[: end if self._is_shown else end - size], True
        kept = self._possible(text)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept], False

    def rest(self) -> str:
        """What is still held back when the answer ends by itself."""
        rest, self._held = self._held, ""
        return rest

    def _possible(self, text: str) -> int:
        """How many last characters of ``text`` could begin a sequence."""
        for length in range(min(self._longest - 1, len(text)), 0, -1):
            tail = text[-length:]
            if any(sequence.startswith(tail) for sequence in self._sequences):
                return length
        return 0
