"""How a patch fails: one exception for the three dialects, with what the HTTP edge needs to choose a code.

Raised by ``json_patch``, ``merge_patch`` and ``strategic``. Invariant: the message says where and what to do.
"""

from __future__ import annotations


class PatchError(Exception):
    """A patch that cannot be applied.

    ``is_malformed`` is true when the patch itself is not one (HTTP 400), false when it is well formed but does not
    fit the document (a missing path, a failed ``test``: HTTP 422).
    """

    def __init__(self, message: str, *, is_malformed: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.is_malformed = is_malformed


NESTED_TOO_DEEPLY = "the patch or the object is nested too deeply"
