"""An ONNX model whose columns come in two tables, one of numbers and one of texts, instead of each as an input.

ONNX Runtime takes about a microsecond for each input of a call and for each tensor inside: with twenty columns most of
the time of a small model.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from towpath.adapters.runtime_onnx_signature import Input

NUMBERS, TEXTS = "towpath/numbers", "towpath/texts"


def packed(proto: Any, inputs: Sequence[Input]) -> Any:
    """The model with inputs `NUMBERS` (rows, numbers) of doubles and `TEXTS` (rows, texts), each where it has columns.

    The columns stand in the order of `inputs`. The graph begins by taking the tables apart; numbers that it only joins
    again are not taken apart. Changes `proto`.
    """
    from onnx import TensorProto, helper

    graph = proto.graph
    del graph.input[:]
    nodes = list(graph.node)
    for table, kind, text in ((NUMBERS, TensorProto.DOUBLE, False), (TEXTS, TensorProto.STRING, True)):
        names = [one.name for one in inputs if (one.type == "text") is text]
        if not names:
            continue
        graph.input.append(helper.make_tensor_value_info(table, kind, [None, len(names)]))
        nodes = _taken_together(nodes, graph, table, names)
        if {name for node in nodes for name in node.input} & {*names}:
            sizes = _whole_numbers(graph, f"{table}/sizes", [1] * len(names))
            nodes.insert(0, helper.make_node("Split", [table, sizes], names, axis=1))
    del graph.node[:]
    graph.node.extend(nodes)
    return proto


def _taken_together(nodes: Sequence[Any], graph: Any, table: str, names: Sequence[str]) -> list[Any]:
    """The nodes, in which columns that stand side by side in a concatenation are one part of the table."""
    from onnx import helper

    found = []
    for node in nodes:
        if node.op_type == "Concat" and [one.i for one in node.attribute if one.name == "axis"] in ([1], [-1]):
            joined: list[str] = []
            for ours, group in groupby(node.input, key=lambda name: name in names):
                side_by_side = list(group)
                if ours:
                    part = f"{table}/{len(graph.initializer)}"
                    places = _whole_numbers(graph, f"{part}/places", [names.index(name) for name in side_by_side])
                    found.append(helper.make_node("Gather", [table, places], [part], axis=1))
                    side_by_side = [part]
                joined += side_by_side
            del node.input[:]
            node.input.extend(joined)
        found.append(node)
    return found


def _whole_numbers(graph: Any, name: str, values: Sequence[int]) -> str:
    """A constant of the graph; returns its name."""
    from onnx import TensorProto, helper

    graph.initializer.append(helper.make_tensor(name, TensorProto.INT64, [len(values)], values))
    return name
