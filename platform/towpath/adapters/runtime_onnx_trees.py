"""Tree ensembles as an ONNX graph in 64 bits, built from treelite's trees.

Converters write ensembles in 32 bits, in which a raw time or an amount of money falls on the other side of a split.
The operator `TreeEnsemble` of ai.onnx.ml 5 holds doubles, and ONNX Runtime has a kernel for them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from towpath.adapters.runtime_classes import LEAST, classes_of
from towpath.adapters.runtime_onnx_signature import NAN, NULL, Signature, of_plan
from towpath.adapters.runtime_plan import Category, Known, NotConvertible, Number
from towpath.adapters.runtime_treelite import imported

FEATURES, OUTPUT = "features", "probability"
_OURS = "towpath/"  # before the names of what lies inside the graph
OPSET, ML_OPSET, IR = 21, 5, 10
_SUM, _LESS_OR_EQUAL = 1, 0
_LINKS = ("sigmoid", "softmax", "identity_multiclass")


def ensemble(estimator: Any, *, width: int) -> Any:
    """The ONNX model of trees alone: one input `features` of shape (rows, width). Raises `NotConvertible`."""
    from onnx import TensorProto, helper

    build = _Build()
    build.ensemble(imported(estimator), FEATURES)
    return _made(build, [helper.make_tensor_value_info(FEATURES, TensorProto.DOUBLE, [None, width])])


def graph(known: Known) -> tuple[Any, Signature]:
    """The ONNX model of a pipeline that ends in trees, and its signature. Raises `NotConvertible`."""
    from onnx import TensorProto, helper

    plan = known.plan
    if any(name == OUTPUT or name.startswith(_OURS) for name in plan.columns):
        raise NotConvertible("A column bears a name that the graph needs.")
    signature = of_plan(plan, output=OUTPUT, classes=classes_of(known.estimator))
    trees = imported(known.estimator)
    build = _Build()
    features = [build.feature(plan.columns[one.column], one) for one in plan.features]
    joined = build.add("Concat", features, axis=1)
    if plan.single:
        joined = build.add("Cast", [build.add("Cast", [joined], to=TensorProto.FLOAT)], to=TensorProto.DOUBLE)
    build.ensemble(trees, joined)
    inputs = [
        helper.make_tensor_value_info(
            one.name, TensorProto.STRING if one.type == "text" else TensorProto.DOUBLE, [None, 1]
        )
        for one in signature.inputs
    ]
    return _made(build, inputs), signature


def _made(build: _Build, inputs: Sequence[Any]) -> Any:
    from onnx import TensorProto, helper

    outputs = [helper.make_tensor_value_info(OUTPUT, TensorProto.DOUBLE, [None, build.width])]
    graph = helper.make_graph(build.nodes, "towpath", list(inputs), outputs, initializer=build.constants)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR, producer_name="towpath")


@dataclass(kw_only=True)
class _Build:
    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)
    width: int = 1
    """Numbers that a row is answered with."""

    def add(self, kind: str, inputs: Sequence[str], *, domain: str = "", name: str = "", **attributes: Any) -> str:
        """A node; returns its output's name."""
        from onnx import helper

        out = name or f"{_OURS}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [out], domain=domain, **attributes))
        return out

    def constant(self, *values: float) -> str:
        name = f"{_OURS}constant/{len(self.constants)}"
        self.constants.append(_tensor(name, values))
        return name

    def feature(self, name: str, feature: Number | Category) -> str:
        if isinstance(feature, Number):
            missing = feature.missing
            if missing is None or missing != missing:
                return name
            return self.add("Where", [self.add("IsNaN", [name]), self.constant(missing), name])
        keys = [*map(str, feature.keys), NULL, NAN]
        if len(set(keys)) != len(keys):
            raise NotConvertible(f"{name} has a category that stands for a missing value here.")
        codes = [*feature.codes, *(0.0 if code is None else code for code in (feature.null, feature.nan))]
        unseen = 0.0 if feature.unseen is None else feature.unseen
        return self.add(
            "LabelEncoder",
            [name],
            domain="ai.onnx.ml",
            keys_tensor=_texts("keys", keys),
            values_tensor=_tensor("values", codes),
            default_tensor=_tensor("default", [unseen]),
        )

    def ensemble(self, trees: Any, features: str) -> None:
        """The trees and their link, ending in `OUTPUT`."""
        header = trees.get_header_accessor()
        link = header.get_field("postprocessor")
        if link not in _LINKS:
            raise NotConvertible(f"The trees end in {link}.")
        forest, several = link == "identity_multiclass", link == "softmax"
        count = int(header.get_field("num_class")[0])
        if forest and count >= LEAST:
            raise NotConvertible("A leaf of the forest has a share of each of several classes.")
        averaged = bool(header.get_field("average_tree_output")[0])
        self.width = count if several else 1
        flat = _Flat(share=1.0 / trees.num_tree if averaged else 1.0, width=self.width)
        classes = header.get_field("class_id").tolist() if several else [0] * trees.num_tree
        for number in range(trees.num_tree):
            flat.append(trees.get_tree_accessor(number), target=int(classes[number]))
        total = self.add(
            "TreeEnsemble", [features], domain="ai.onnx.ml", name=OUTPUT if forest else "", **flat.attributes()
        )
        if not forest:
            base = self.add("Add", [total, self.constant(*map(float, header.get_field("base_scores")))])
            self.add("Softmax" if several else "Sigmoid", [base], name=OUTPUT)


@dataclass(kw_only=True)
class _Flat:
    """Nodes and leaves of all trees, numbered apart, as `TreeEnsemble` wants them."""

    share: float
    width: int = 1
    roots: list[int] = field(default_factory=list)
    features: list[int] = field(default_factory=list)
    splits: list[float] = field(default_factory=list)
    missing_left: list[int] = field(default_factory=list)
    children: tuple[list[int], list[int]] = field(default_factory=lambda: ([], []))
    to_leaf: tuple[list[int], list[int]] = field(default_factory=lambda: ([], []))
    leaves: list[float] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)

    def append(self, tree: Any, *, target: int) -> None:
        """A tree whose leaves count for that target."""
        names = ("cleft", "cright", "split_index", "default_left", "threshold", "leaf_value", "leaf_vector", "cmp")
        part = {name: tree.get_field(name) for name in names}
        left, right = part["cleft"].tolist(), part["cright"].tolist()
        if tree.get_field("has_categorical_split")[0]:
            raise NotConvertible("A split is by category inside the trees.")
        values = self._values(part, len(left), tree)
        inner = [node for node in range(len(left)) if left[node] >= 0]
        places = {node: len(self.features) + place for place, node in enumerate(inner)}
        leaf_places = {}
        for node in range(len(left)):
            if left[node] < 0:
                leaf_places[node] = len(self.leaves)
                self.leaves.append(values[node] * self.share)
                self.targets.append(target)
        self.roots.append(len(self.features))
        if not inner:
            self._split(0, 0.0, 1, [(leaf_places[0], 1)] * 2)  # a tree of one leaf: both ways lead to it
        for node in inner:
            ways = [
                (leaf_places[child], 1) if child in leaf_places else (places[child], 0)
                for child in (left[node], right[node])
            ]
            self._split(
                int(part["split_index"][node]),
                float(part["threshold"][node]),
                int(part["default_left"][node]),
                ways,
            )

    def _values(self, part: Mapping[str, Any], count: int, tree: Any) -> list[float]:
        """What each node is worth as a leaf: its value, or its share of class 1."""
        if not len(part["leaf_vector"]):
            return [float(one) for one in part["leaf_value"]]
        begin, end = tree.get_field("leaf_vector_begin"), tree.get_field("leaf_vector_end")
        vector = part["leaf_vector"]
        return [float(vector[int(end[node]) - 1]) if end[node] > begin[node] else 0.0 for node in range(count)]

    def _split(self, feature: int, threshold: float, missing_left: int, ways: Sequence[tuple[int, int]]) -> None:
        self.features.append(feature)
        self.splits.append(threshold)
        self.missing_left.append(missing_left)
        for side, (place, leaf) in enumerate(ways):
            self.children[side].append(place)
            self.to_leaf[side].append(leaf)

    def attributes(self) -> dict[str, Any]:
        import numpy as np
        from onnx import numpy_helper

        return {
            "n_targets": self.width,
            "aggregate_function": _SUM,
            "post_transform": 0,
            "tree_roots": self.roots,
            "nodes_featureids": self.features,
            "nodes_modes": numpy_helper.from_array(
                np.full(len(self.features), _LESS_OR_EQUAL, dtype=np.uint8), "modes"
            ),
            "nodes_splits": _tensor("splits", self.splits),
            "nodes_truenodeids": self.children[0],
            "nodes_trueleafs": self.to_leaf[0],
            "nodes_falsenodeids": self.children[1],
            "nodes_falseleafs": self.to_leaf[1],
            "nodes_missing_value_tracks_true": self.missing_left,
            "leaf_targetids": self.targets,
            "leaf_weights": _tensor("weights", self.leaves),
        }


def _tensor(name: str, values: Sequence[float]) -> Any:
    import numpy as np
    from onnx import numpy_helper

    return numpy_helper.from_array(np.asarray(values, dtype=np.float64), name)


def _texts(name: str, values: Sequence[str]) -> Any:
    import numpy as np
    from onnx import numpy_helper

    return numpy_helper.from_array(np.asarray(values, dtype=object), name)
