"""Looks into an ONNX graph, and prunes a decoder's output head, without the `onnx` package.

Only the few fields used here are declared; protobuf carries all others through unread. The weights of a decoder
lie beside its graph in a data file, so a graph is small. Nothing here runs a graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

#: The graph input that `prune_head` adds: int64 [rows, 1, 2], pairs of (batch row, position in the sequence).
LOGIT_ROWS: Final = "orbit_logit_rows"

#: A graph with its weights inside is left alone above this size: it would be copied to be changed.
_PRUNE_MAX_BYTES: Final = 256 * 1024 * 1024

_FLOAT_TYPES: Final = {1: "float32", 10: "float16", 16: "bfloat16"}
_INT64: Final = 7
_HEADS: Final = frozenset({"MatMul", "MatMulNBits", "Gemm"})
#: What may stand between the head and the logits: each maps one element to one element.
_ELEMENTWISE: Final = frozenset({"Cast", "Mul", "Div", "Tanh", "Add"})

_FIELD = descriptor_pb2.FieldDescriptorProto


def _field(message: Any, name: str, number: int, kind: Any, *, many: bool = False, of: str | None = None) -> None:
    field = message.field.add()
    field.name, field.number, field.type = name, number, kind
    field.label = _FIELD.LABEL_REPEATED if many else _FIELD.LABEL_OPTIONAL
    if of is not None:
        field.type_name = f".orbit.onnx.{of}"


def _model_class() -> Any:
    """The message class for ModelProto, trimmed (field numbers: onnx.proto)."""
    file = descriptor_pb2.FileDescriptorProto(name="orbit/onnx_trimmed.proto", package="orbit.onnx", syntax="proto2")
    text, nested, number = _FIELD.TYPE_STRING, _FIELD.TYPE_MESSAGE, _FIELD.TYPE_INT64
    add = {
        name: file.message_type.add(name=name)
        for name in ("Dimension", "Shape", "Tensor", "Type", "ValueInfo", "Node", "Graph", "Opset", "Model")
    }
    _field(add["Dimension"], "dim_value", 1, number)
    _field(add["Dimension"], "dim_param", 2, text)
    _field(add["Shape"], "dim", 1, nested, many=True, of="Dimension")
    _field(add["Tensor"], "elem_type", 1, _FIELD.TYPE_INT32)
    _field(add["Tensor"], "shape", 2, nested, of="Shape")
    _field(add["Type"], "tensor_type", 1, nested, of="Tensor")
    _field(add["ValueInfo"], "name", 1, text)
    _field(add["ValueInfo"], "type", 2, nested, of="Type")
    _field(add["Node"], "input", 1, text, many=True)
    _field(add["Node"], "output", 2, text, many=True)
    _field(add["Node"], "name", 3, text)
    _field(add["Node"], "op_type", 4, text)
    _field(add["Node"], "domain", 7, text)
    _field(add["Graph"], "node", 1, nested, many=True, of="Node")
    _field(add["Graph"], "input", 11, nested, many=True, of="ValueInfo")
    _field(add["Graph"], "output", 12, nested, many=True, of="ValueInfo")
    _field(add["Graph"], "value_info", 13, nested, many=True, of="ValueInfo")
    _field(add["Model"], "graph", 7, nested, of="Graph")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("orbit.onnx.Model"))


_MODEL = _model_class()


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output of a graph. `dtype` is numpy's name ("" if unknown); a named dimension is a string."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


def _tensor(info: Any) -> Tensor:
    tensor = info.type.tensor_type
    kind = "int64" if tensor.elem_type == _INT64 else _FLOAT_TYPES.get(tensor.elem_type, "")
    return Tensor(info.name, kind, tuple(d.dim_param or d.dim_value for d in tensor.shape.dim))


class OnnxGraph:
    """One parsed graph."""

    def __init__(self, path: Path) -> None:
        """Reads the graph at `path`; a file that is no ONNX model raises `ValueError`."""
        self.path = path
        self._model = _MODEL()
        try:
            self._model.ParseFromString(path.read_bytes())
        except Exception as error:
            raise ValueError(f"{path.name} is no ONNX model: {error}") from error

    def inputs(self) -> dict[str, Tensor]:
        """The graph's inputs by name."""
        return {info.name: _tensor(info) for info in self._model.graph.input}

    def count(self, op_type: str) -> int:
        """How many nodes of that kind the graph has (subgraphs are not searched)."""
        return sum(1 for node in self._model.graph.node if node.op_type == op_type)

    def prune_head(self, logits: str) -> bytes | None:
        """The graph with its output head applied only to the positions that `LOGIT_ROWS` names.

        `logits` is then [rows, 1, vocabulary] instead of [batch, sequence, vocabulary]: a prompt pays for one
        row of the head and not for one at each token. None where the head has a shape that is not understood,
        or the weights lie inside a large graph.
        """
        if self.path.stat().st_size > _PRUNE_MAX_BYTES:
            return None
        head = self._head(logits)
        if head is None:
            return None
        pruned = _MODEL()
        pruned.CopyFrom(self._model)
        graph = pruned.graph
        graph.node[head].input[0] = f"{LOGIT_ROWS}/hidden"
        gather = type(graph.node[head])(
            name=f"{LOGIT_ROWS}/GatherND",
            op_type="GatherND",
            input=[self._model.graph.node[head].input[0], LOGIT_ROWS],
            output=[f"{LOGIT_ROWS}/hidden"],
        )
        graph.node.insert(head, gather)
        _describe(graph.input.add(name=LOGIT_ROWS), _INT64, ("logit_rows", 1, 2))
        self._reshape_outputs(graph, head, logits)
        return pruned.SerializeToString()

    def _head(self, logits: str) -> int | None:
        """The index of the matrix product that makes `logits`, if only element-wise nodes follow it."""
        nodes = self._model.graph.node
        maker = {output: index for index, node in enumerate(nodes) for output in node.output}
        wanted = logits
        while wanted in maker:
            index = maker[wanted]
            node = nodes[index]
            if node.op_type in _HEADS:
                return index
            if node.op_type not in _ELEMENTWISE:
                return None
            wanted = node.input[0]
        return None

    def _reshape_outputs(self, graph: Any, head: int, logits: str) -> None:
        """Renames the leading dimensions of what comes after the head: they are rows now."""
        after = {logits} | {output for node in self._model.graph.node[head:] for output in node.output}
        for info in [*graph.output, *graph.value_info]:
            if info.name in after:
                tensor = _tensor(info)
                if len(tensor.shape) == 3:
                    _describe(info, info.type.tensor_type.elem_type, ("logit_rows", 1, tensor.shape[2]))


def _describe(info: Any, elem_type: int, shape: tuple[int | str, ...]) -> None:
    tensor = info.type.tensor_type
    tensor.elem_type = elem_type
    del tensor.shape.dim[:]
    for size in shape:
        if isinstance(size, str):
            tensor.shape.dim.add(dim_param=size)
        else:
            tensor.shape.dim.add(dim_value=size)
