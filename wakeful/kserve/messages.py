"""KServe's message classes over Wakeful's tensors: what users' models take and give.

``InferInput`` and ``InferOutput`` hold one core ``Tensor``; ``request_of`` and ``response_of`` wrap what the edges decoded,
``core_request`` and ``core_response`` unwrap what models made. Left out: ``from_grpc`` and ``to_grpc`` (the edges speak gRPC
themselves). Invariant: wrapping copies no data; wrong data is a ``FailureError`` when it is unwrapped, not a wrong answer.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from wakeful.client import v2_messages
from wakeful.core.errors import FailureError, FailureKind, InvalidError
from wakeful.core.protocol import arrays, oip, oip_binary, oip_elements
from wakeful.core.protocol.problem import parse_json


class _Tensor:
    """A named tensor: name, shape, datatype, data (None where it is in binary form), parameters."""

    def __init__(
        self,
        name: str,
        shape: list[int],
        datatype: str,
        data: Any = None,
        parameters: dict[str, Any] | None = None,
    ) -> None:
        self.tensor = oip.Tensor(name, tuple(shape), datatype.upper(), data, dict(parameters or {}))
        self._is_binary = False

    @classmethod
    def over(cls, tensor: oip.Tensor) -> Self:
        """A view of ``tensor``."""
        view = cls.__new__(cls)
        view.tensor = tensor
        view._is_binary = not isinstance(tensor.data, list)
        return view

    @property
    def name(self) -> str:
        return self.tensor.name

    @property
    def datatype(self) -> str:
        return self.tensor.datatype

    @property
    def shape(self) -> list[int]:
        return list(self.tensor.shape)

    @shape.setter
    def shape(self, shape: list[int]) -> None:
        self.tensor.shape = tuple(shape)

    @property
    def parameters(self) -> dict[str, Any]:
        return self.tensor.parameters

    @parameters.setter
    def parameters(self, parameters: dict[str, Any] | None) -> None:
        self.tensor.parameters = dict(parameters or {})

    @property
    def data(self) -> Any:
        """The elements; None where they are in binary form (``as_numpy`` has them either way)."""
        return None if self._is_binary else self.tensor.data

    @data.setter
    def data(self, data: Any) -> None:
        self.tensor.data, self._is_binary = data, False

    def set_raw(self, content: bytes) -> None:
        """Take the elements in binary form, as gRPC's ``raw_input_contents`` has them. Raises ``InvalidError``."""
        view, needed = memoryview(content), self.tensor.size * oip.ELEMENT_BYTES[self.datatype]
        if self.datatype != "BYTES" and len(view) != needed:
            raise InvalidError(f"{self.name}: shape {self.shape} takes {needed} bytes, not {len(view)}")
        self.tensor.data = oip_binary.split_bytes(self.tensor, view) if self.datatype == "BYTES" else view
        self._is_binary = True

    def as_numpy(self) -> NDArray[Any]:
        """The array. Raises ``FailureError`` (invalid) where data, datatype and shape do not go together."""
        return arrays.to_array(self.complete())

    def set_data_from_numpy(self, input_tensor: NDArray[Any], binary_data: bool = True) -> None:
        """Take data and shape from an array, whose datatype must be this one's."""
        array = np.asarray(input_tensor)
        found = arrays.datatype_of(array)
        if found != self.datatype:
            raise InvalidError(f"got unexpected datatype {found} from numpy array, expected {self.datatype}")
        made = arrays.from_array(self.name, array)
        self.tensor.shape = made.shape
        self._is_binary = binary_data
        self.tensor.data = made.data if binary_data else made.data.tolist()

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of this tensor."""
        plain = arrays.plain(self.complete())
        data = plain.data.tolist() if isinstance(plain.data, np.ndarray) else plain.data
        return {
            "name": self.name,
            "shape": self.shape,
            "datatype": self.datatype,
            "data": data,
            "parameters": self.parameters or None,
        }

    def complete(self) -> oip.Tensor:
        """The tensor with flat data of the right count. Raises ``FailureError`` (invalid)."""
        tensor = self.tensor
        if isinstance(tensor.data, np.ndarray):
            if tensor.data.size != tensor.size:
                raise InvalidError(
                    f"{self.name}: shape {self.shape} and an array of {tensor.data.size} elements"
                )
            return arrays.from_array(self.name, tensor.data.reshape(tensor.shape), tensor.datatype)
        if tensor.data is None:
            raise InvalidError(f"{self.name} has no data")
        if isinstance(tensor.data, list | tuple):
            flat = oip_elements.flatten(list(tensor.data), self.name)
            if len(flat) != tensor.size:
                raise InvalidError(
                    f"{self.name}: shape {self.shape} holds {tensor.size} elements, data has {len(flat)}"
                )
            return oip.Tensor(tensor.name, tensor.shape, tensor.datatype, flat, tensor.parameters)
        return tensor

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {self.shape}, {self.datatype!r})"


class InferInput(_Tensor):
    """One input tensor of a V2 request."""

    def as_string(self) -> list[str]:
        """The elements of a BYTES input as text."""
        flat = self.as_numpy().reshape(-1)
        return [item.decode() if isinstance(item, bytes) else str(item) for item in flat]


class InferOutput(_Tensor):
    """One output tensor of a V2 answer."""

    def set_data_from_numpy(self, output_tensor: NDArray[Any], binary_data: bool = True) -> None:
        """As an input's; the argument has KServe's name."""
        super().set_data_from_numpy(output_tensor, binary_data)


class RequestedOutput:
    """An output that a request names."""

    def __init__(self, name: str, parameters: dict[str, Any] | None = None) -> None:
        self.name = name
        self.parameters = dict(parameters or {})

    @property
    def binary_data(self) -> bool | None:
        return self.parameters.get("binary_data")


def _take_raw(tensors: Sequence[_Tensor], given: dict[str, Any], name: str) -> None:
    """Give each tensor its elements in binary form, where ``name`` has them. Raises ``InvalidError``, ``TypeError``."""
    raw = given.pop(name, None)
    if given:
        raise TypeError(f"unexpected keyword argument {next(iter(given))!r}")
    if not raw:
        return
    if len(raw) != len(tensors):
        raise InvalidError(f"{name} has {len(raw)} elements for {len(tensors)} tensors")
    for tensor, content in zip(tensors, raw, strict=True):
        tensor.set_raw(content)


class InferRequest:
    """A V2 request as KServe's models see it."""

    def __init__(
        self,
        model_name: str,
        infer_inputs: list[InferInput],
        request_id: str | None = None,
        parameters: dict[str, Any] | None = None,
        request_outputs: list[RequestedOutput] | None = None,
        from_grpc: bool = False,
        model_version: str | None = None,
        **grpc: Any,
    ) -> None:
        """``grpc``: KServe's ``raw_inputs`` (bytes, one an input)."""
        self.model_name = model_name
        self.inputs = infer_inputs
        self.id = request_id
        self.parameters = parameters
        self.request_outputs = request_outputs
        self.from_grpc = from_grpc
        self.model_version = model_version
        _take_raw(infer_inputs, grpc, "raw_inputs")

    def get_input_by_name(self, name: str) -> InferInput | None:
        """The input of that name, or None."""
        return next((item for item in self.inputs if item.name == name), None)

    def as_dataframe(self) -> Any:
        """The inputs as columns of a pandas DataFrame (pandas must be installed)."""
        import pandas

        columns = {item.name: item.as_numpy().tolist() for item in self.inputs}
        return pandas.DataFrame(columns)

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of this request."""
        inputs = [item.to_dict() for item in self.inputs]
        return {"id": self.id, "model_name": self.model_name, "inputs": inputs, "parameters": self.parameters}

    def to_rest(self) -> tuple[bytes | dict[str, Any], int | None]:
        """(JSON object, None), or (bytes, length of their JSON part) where an input is in binary form."""
        body, headers = v2_messages.encode(core_request(self), is_binary=True)
        length = headers.get(oip_binary.HEADER)
        return (parse_json(body, "the request"), None) if length is None else (body, int(length))


class InferResponse:
    """A V2 answer as KServe's models make it."""

    def __init__(
        self,
        response_id: str | None,
        model_name: str,
        infer_outputs: list[InferOutput],
        model_version: str | None = None,
        parameters: dict[str, Any] | None = None,
        use_binary_outputs: bool = False,
        requested_outputs: list[RequestedOutput] | None = None,
        **grpc: Any,
    ) -> None:
        """``grpc``: KServe's ``from_grpc`` and ``raw_outputs`` (bytes, one an output)."""
        self.id = response_id
        self.model_name = model_name
        self.outputs = infer_outputs
        self.model_version = model_version
        self.parameters = parameters
        self.use_binary_outputs = use_binary_outputs
        self.requested_outputs = requested_outputs
        self.from_grpc = bool(grpc.pop("from_grpc", False))
        _take_raw(infer_outputs, grpc, "raw_outputs")

    def get_output_by_name(self, name: str) -> InferOutput | None:
        """The output of that name, or None."""
        return next((item for item in self.outputs if item.name == name), None)

    @classmethod
    def from_rest(cls, response: dict[str, Any]) -> InferResponse:
        """The answer in a JSON object."""
        return response_of(v2_messages.decode(oip.dump(response), None))

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of this answer."""
        outputs = [item.to_dict() for item in self.outputs]
        return {
            "id": self.id,
            "model_name": self.model_name,
            "outputs": outputs,
            "parameters": self.parameters,
        }

    def to_rest(self) -> tuple[dict[str, Any], None]:
        """(JSON object, None). Binary answers are the server's business."""
        return self.to_dict() | {"model_version": self.model_version}, None


def request_of(request: oip.InferRequest, model_name: str, from_grpc: bool) -> InferRequest:
    """KServe's view of a decoded request."""
    wanted = [RequestedOutput(output.name, output.parameters) for output in request.outputs]
    inputs = [InferInput.over(tensor) for tensor in request.inputs]
    return InferRequest(model_name, inputs, request.id, request.parameters or None, wanted or None, from_grpc)


def core_request(request: InferRequest) -> oip.InferRequest:
    """A request as the client sends it. Raises ``FailureError``."""
    wanted = [
        oip.RequestedOutput(item.name, item.binary_data is True, item.parameters)
        for item in request.request_outputs or []
    ]
    inputs = [item.complete() for item in request.inputs]
    return oip.InferRequest(inputs, wanted, request.id, dict(request.parameters or {}))


def response_of(response: oip.InferResponse) -> InferResponse:
    """KServe's view of a predictor's answer."""
    outputs = [InferOutput.over(tensor) for tensor in response.outputs]
    return InferResponse(
        response.id, response.model_name, outputs, response.model_version, response.parameters
    )


def core_response(response: InferResponse) -> oip.InferResponse:
    """An answer as the edges encode it, who refuse outputs that are none. Raises ``FailureError`` (internal)."""
    outputs: Any = response.outputs
    try:
        if isinstance(outputs, list | tuple):
            outputs = [item.complete() if isinstance(item, _Tensor) else item for item in outputs]
    except FailureError as error:
        raise FailureError(FailureKind.INTERNAL, f"the model's answer is wrong: {error}") from error
    return oip.InferResponse(
        outputs, response.model_name, response.id, response.model_version, response.parameters
    )


def generate_uuid() -> str:
    """A new identifier for an answer."""
    return str(uuid.uuid4())


def get_predict_input(payload: dict[str, Any] | InferRequest, columns: list[str] | None = None) -> Any:
    """The rows of a request as an array, or as a DataFrame where rows are objects or there are several inputs.

    Text is objects, as long as each is: KServe's own arrays make every element as long as the longest. Raises
    ``InvalidError`` where there are no rows or they differ in shape.
    """
    if isinstance(payload, InferRequest):
        if len(payload.inputs) == 1:
            return payload.inputs[0].as_numpy()
        return payload.as_dataframe()
    key = "inputs" if "inputs" in payload else "instances"
    rows = payload.get(key)
    if not isinstance(rows, list):
        raise InvalidError('the request has no "instances" (or "inputs") that is a list of rows')
    if rows and isinstance(rows[0], dict):
        import pandas

        return pandas.DataFrame(rows, columns=columns)
    try:
        return _array(rows)
    except ValueError as error:
        raise InvalidError(f'"{key}" is ragged: rows differ in shape') from error


def _array(rows: list[Any]) -> NDArray[Any]:
    """Rows as an array, text as objects. Raises ``ValueError`` where they differ in shape."""
    array = arrays.stacked(rows)
    if array.dtype.kind == "O" and any(type(item) is list for item in array.flat):
        raise ValueError("rows differ in shape")
    return array


def get_predict_response(
    payload: dict[str, Any] | InferRequest, result: Any, model_name: str
) -> dict[str, Any] | InferResponse:
    """The answer to ``payload`` in its protocol, from an array or a DataFrame."""
    array = _array(result) if isinstance(result, list) else np.asarray(result)
    if not isinstance(payload, InferRequest):
        return {"predictions": array.tolist()}
    output = InferOutput("output-0", list(array.shape), arrays.datatype_of(array))
    output.set_data_from_numpy(array, binary_data=False)
    return InferResponse(payload.id or generate_uuid(), model_name, [output])
