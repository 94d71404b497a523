"""What a call gives back: one HTTP answer as it came, and a V2 answer as arrays by output name.

Made by the transports, read by the clients of this package and their users. ``problem_of`` turns an error answer into
the failure it means. Invariant: an ``Answer`` never holds an error; those are raised.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from wakeful.core.errors import FailureError, FailureKind, UpstreamError
from wakeful.core.protocol import arrays, oip
from wakeful.core.protocol.problem import parse_json, shown

SHOWN_CHARACTERS = 2000


@dataclass(frozen=True, slots=True)
class Received:
    """One HTTP answer: status, headers by lower-case name, whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body's value. Raises ``FailureError`` (internal) where it is not JSON."""
        try:
            return parse_json(self.body, "the answer")
        except FailureError as error:
            raise FailureError(
                FailureKind.INTERNAL, f"the server's answer cannot be read: {error}"
            ) from error

    @property
    def retry_after_s(self) -> float | None:
        """Retry-After in seconds, where it is a number."""
        value = self.headers.get("retry-after", "")
        return float(value) if value.isascii() and value.isdigit() else None


def problem_of(received: Received, where: str) -> UpstreamError:
    """The failure that an error answer means; its text is the server's own, or says that there was none.

    A redirect is one too: another host would get the request's content and credentials.
    """
    if received.status < 400:
        place = shown(received.headers.get("location", "nowhere"))
        text = f"{where} answered {received.status}, a redirect to {place}, which is not followed: call the server that answers"
        return UpstreamError(received.status, text)
    text = ""
    if received.body.lstrip()[:1] in (b"{", b"["):
        try:
            text = _sentence(parse_json(received.body, "the answer"))
        except FailureError:
            text = ""
    text = text or received.body.decode("utf-8", "replace").strip()
    text = text[:SHOWN_CHARACTERS] or f"{where} answered {received.status} without a text"
    return UpstreamError(received.status, text, received.retry_after_s)


def _sentence(value: Any) -> str:
    """The text in KServe's, FastAPI's and OpenAI's error bodies; '' for any other."""
    if not isinstance(value, dict):
        return ""
    error = value.get("error")
    if isinstance(error, dict):
        error = error.get("message")
    if isinstance(error, str):
        return error
    detail = value.get("detail")
    if isinstance(detail, list) and detail and isinstance(detail[0], dict):
        first = detail[0]
        return f"{'.'.join(map(str, first.get('loc') or []))}: {first.get('msg')}"
    return detail if isinstance(detail, str) else ""


class Answer(Mapping[str, NDArray[Any]]):
    """A V2 answer: arrays by output name. BYTES elements are ``str`` from JSON and ``bytes`` from binary form."""

    def __init__(self, response: oip.InferResponse, headers: Mapping[str, str]) -> None:
        self.response = response
        """The answer as values: tensors, id, model name and version, parameters."""
        self.headers = headers
        """The HTTP answer's headers (gRPC: metadata), by lower-case name."""
        self._by_name = {tensor.name: tensor for tensor in response.outputs}

    def __getitem__(self, name: str) -> NDArray[Any]:
        return arrays.to_array(self._by_name[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def only(self) -> NDArray[Any]:
        """The array of the single output. Raises ``ValueError`` where there are none or several."""
        if len(self._by_name) != 1:
            raise ValueError(f"the answer has {len(self)} outputs ({', '.join(self)}): name the one you want")
        return self[next(iter(self._by_name))]
