"""Looks into an ONNX graph, and changes what a decoder takes and gives, without the `onnx` package.

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

#: The graph input that `open_attention` adds: float [1, 1, tokens, columns of the mask], added to attention's scores.
SCORE_BIAS: Final = "orbit_score_bias"

#: A graph with its weights inside is left alone above this size: it would be copied to be changed.
_CHANGED_MAX_BYTES: Final = 256 * 1024 * 1024

#: Where GroupQueryAttention takes the positions of its tokens, and what is added to its scores.
_POSITIONS_PLACE: Final = 9
_BIAS_PLACE: Final = 10
#: Attributes by which attention depends on how far apart tokens lie in the cache; none of them at these values.
_DISTANCE_FREE: Final = {"local_window_size": (-1, 0), "sliding_window_cache": (0,)}

_FLOAT: Final = 1
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
        for name in ("Dimension", "Shape", "Tensor", "Type", "ValueInfo", "Attribute", "Node", "Graph", "Model")
    }
    _field(add["Dimension"], "dim_value", 1, number)
    _field(add["Dimension"], "dim_param", 2, text)
    _field(add["Shape"], "dim", 1, nested, many=True, of="Dimension")
    _field(add["Tensor"], "elem_type", 1, _FIELD.TYPE_INT32)
    _field(add["Tensor"], "shape", 2, nested, of="Shape")
    _field(add["Type"], "tensor_type", 1, nested, of="Tensor")
    _field(add["ValueInfo"], "name", 1, text)
    _field(add["ValueInfo"], "type", 2, nested, of="Type")
    _field(add["Attribute"], "name", 1, text)
    _field(add["Attribute"], "i", 3, number)
    _field(add["Node"], "input", 1, text, many=True)
    _field(add["Node"], "output", 2, text, many=True)
    _field(add["Node"], "name", 3, text)
    _field(add["Node"], "op_type", 4, text)
    _field(add["Node"], "attribute", 5, nested, many=True, of="Attribute")
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

    def serialized(self) -> bytes:
        """The graph with the changes that were made to it."""
        return self._model.SerializeToString()

    def prune_head(self, logits: str) -> bool:
        """Changes the graph so that its output head is applied only to the positions that `LOGIT_ROWS` names.

        `logits` is then [rows, 1, vocabulary] instead of [batch, sequence, vocabulary]: a prompt pays for one
        row of the head and not for one at each token. False, and nothing is changed, where the head has a shape
        that is not understood, or the weights lie inside a large graph.
        """
        head = self._head(logits) if self._may_change() else None
        if head is None:
            return False
        graph = self._model.graph
        hidden = graph.node[head].input[0]
        graph.node[head].input[0] = f"{LOGIT_ROWS}/hidden"
        gather = type(graph.node[head])(
            name=f"{LOGIT_ROWS}/GatherND",
            op_type="GatherND",
            input=[hidden, LOGIT_ROWS],
            output=[f"{LOGIT_ROWS}/hidden"],
        )
        graph.node.insert(head, gather)
        _describe(graph.input.add(name=LOGIT_ROWS), _INT64, ("logit_rows", 1, 2))
        self._reshape_outputs(graph, head, logits)
        return True

    def open_attention(self, positions: str) -> bool:
        """Changes the graph so that each run says at which positions its tokens are, and which others each one sees.

        The first in the input named `positions` (int64 [batch, tokens]), the second by what `SCORE_BIAS` adds to the
        scores. False, and nothing is changed, where attention is not GroupQueryAttention over float32 and over all
        that came before, or takes such inputs already.
        """
        graph = self._model.graph
        attention = [node for node in graph.node if node.op_type == "GroupQueryAttention"]
        if not (self._may_change() and attention and all(_can_be_opened(node, positions) for node in attention)):
            return False
        if any(tensor.dtype not in ("float32", "int64") for tensor in self.inputs().values()):
            return False
        for node in attention:
            inputs = [*node.input, *[""] * (_BIAS_PLACE + 1 - len(node.input))]
            inputs[_POSITIONS_PLACE], inputs[_BIAS_PLACE] = positions, SCORE_BIAS
            del node.input[:]
            node.input.extend(inputs)
        if positions not in self.inputs():
            _describe(graph.input.add(name=positions), _INT64, ("batch_size", "sequence_length"))
        _describe(graph.input.add(name=SCORE_BIAS), _FLOAT, (1, 1, "sequence_length", "total_sequence_length"))
        return True

    def _may_change(self) -> bool:
        return self.path.stat().st_size <= _CHANGED_MAX_BYTES

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
        after = {logits} | {output for node in graph.node[head:] for output in node.output}
        for info in [*graph.output, *graph.value_info]:
            if info.name in after:
                tensor = _tensor(info)
                if len(tensor.shape) == 3:
                    _describe(info, info.type.tensor_type.elem_type, ("logit_rows", 1, tensor.shape[2]))


def _can_be_opened(node: Any, positions: str) -> bool:
    taken = list(node.input[_POSITIONS_PLACE : _BIAS_PLACE + 1])
    if taken not in ([], [""], ["", ""], [positions], [positions, ""]):
        return False
    return all(
        attribute.i in _DISTANCE_FREE[attribute.name]
        for attribute in node.attribute
        if attribute.name in _DISTANCE_FREE
    )


def _describe(info: Any, elem_type: int, shape: tuple[int | str, ...]) -> None:
    tensor = info.type.tensor_type
    tensor.elem_type = elem_type
    del tensor.shape.dim[:]
    for size in shape:
        if isinstance(size, str):
            tensor.shape.dim.add(dim_param=size)
        else:
            tensor.shape.dim.add(dim_value=size)
