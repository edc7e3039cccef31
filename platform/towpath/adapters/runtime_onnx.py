"""Whole pipelines as ONNX graphs on one thread: our own graph for trees, skl2onnx for what else converts."""

from __future__ import annotations

import logging
import math
import warnings
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from operator import itemgetter, methodcaller
from pathlib import Path
from typing import Any

from towpath.adapters import runtime_onnx_signature as signatures
from towpath.adapters import runtime_onnx_trees as trees
from towpath.adapters.runtime_classes import is_known
from towpath.adapters.runtime_encoder import picker
from towpath.adapters.runtime_file import damaged
from towpath.adapters.runtime_onnx_packed import NUMBERS, TEXTS, packed
from towpath.adapters.runtime_onnx_session import session
from towpath.adapters.runtime_onnx_signature import NAN, NULL, Input
from towpath.adapters.runtime_plan import Known, NotConvertible, is_text
from towpath.core.errors import BadInput, IntegrityError

KIND = "onnx"
_NAN = float("nan")
_LAST = itemgetter((slice(None), -1))  # of a table its last column


def compile_onnx(
    model: object, known: Known | None, file: Path, *, columns: Sequence[str], types: Mapping[str, str]
) -> None:
    """Write the model as ONNX with its signature inside, the same bytes every time. Raises `NotConvertible`.

    `known` is the model's plan, when one could be read.
    """
    try:
        if known is None:
            raise NotConvertible("There is no plan of it.")
        proto, signature = trees.graph(known)
    except NotConvertible:
        proto = _by_skl2onnx(model, columns, types)
        output = proto.graph.output[-1].name
        signature = signatures.of_model(model, columns=columns, types=types, output=output)
    note = proto.metadata_props.add()
    note.key, note.value = signatures.PROPERTY, signatures.dumps(signature)
    file.write_bytes(_loadable(proto, file))


def _loadable(proto: Any, file: Path) -> bytes:
    """The model's bytes, once ONNX Runtime takes them.

    skl2onnx takes the type of the probabilities from the first column's encoder and may declare 32 bits where the graph
    computes in 64; the declaration is then set right.
    """
    from onnx import TensorProto

    declared = proto.graph.output[-1].type.tensor_type
    content: bytes = proto.SerializeToString(deterministic=True)
    try:
        session(content, file)
    except IntegrityError:
        declared.elem_type = TensorProto.DOUBLE
        content = proto.SerializeToString(deterministic=True)
        try:
            session(content, file)
        except IntegrityError as error:
            raise NotConvertible(f"ONNX Runtime does not take what was made of it: {error.message}") from error
    return content


def _by_skl2onnx(model: object, columns: Sequence[str], types: Mapping[str, str]) -> Any:
    if not is_known(model):
        raise NotConvertible("The classes are neither 0 and 1 nor three and more.")
    _require_finite_splits(model)
    from skl2onnx import to_onnx  # type: ignore[import-untyped]
    from skl2onnx.common.data_types import (  # type: ignore[import-untyped]
        DoubleTensorType,
        StringTensorType,
    )

    inputs = [
        (name, StringTensorType([None, 1]) if is_text(types[name]) else DoubleTensorType([None, 1])) for name in columns
    ]
    logging.getLogger("skl2onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = to_onnx(model, initial_types=inputs, options={"zipmap": False}, name="towpath")
    except Exception as error:
        raise NotConvertible(f"skl2onnx does not convert it: {type(error).__name__}: {error}") from error
    return _ordered(_in_64_bits(_with_missing(made)))


def _in_64_bits(proto: Any) -> Any:
    """skl2onnx joins columns of doubles by an operator that gives 32 bits; a concatenation keeps what they are."""
    from onnx import helper

    for place, node in enumerate(proto.graph.node):
        if node.op_type == "FeatureVectorizer":
            joined = helper.make_node("Concat", list(node.input), list(node.output), name=node.name, axis=1)
            proto.graph.node[place].CopyFrom(joined)
    return proto


def _require_finite_splits(model: object) -> None:
    """skl2onnx never ends on an infinite threshold, which a split of missing values from all others has."""
    import numpy as np

    if not all(np.isfinite(tree.threshold).all() for tree in _trees(model)):
        raise NotConvertible("A split has an infinite threshold.")


def _trees(part: Any) -> Iterator[Any]:
    """The trees of a fitted model, however deep its estimators lie in one another."""
    if hasattr(part, "tree_"):
        yield part.tree_
        return
    inner: Iterable[Any] = ()
    if isinstance(part, Mapping):
        inner = part.values()
    elif isinstance(part, list | tuple):
        inner = part
    elif getattr(getattr(part, "dtype", None), "kind", "") == "O":
        inner = part.ravel()
    elif type(part).__module__.startswith("sklearn."):
        inner = getattr(part, "__dict__", {}).values()
    for one in inner:
        yield from _trees(one)


def _with_missing(proto: Any) -> Any:
    """skl2onnx writes the categories NaN and None as the texts "nan" and "None"; here they get names of their own."""
    named = {b"nan": NAN.encode(), b"None": NULL.encode()}
    for node in proto.graph.node:
        for attribute in node.attribute:
            if node.op_type == "OneHotEncoder" and attribute.name == "cats_strings":
                renamed = [named.get(one, one) for one in attribute.strings]
                del attribute.strings[:]
                attribute.strings.extend(renamed)
    return proto


def _ordered(proto: Any) -> Any:
    """skl2onnx goes through sets: constants and operator sets come in another order in every process."""
    for items, key in ((proto.graph.initializer, "name"), (proto.opset_import, "domain")):
        fixed = sorted(items, key=lambda one: str(getattr(one, key)))
        del items[:]
        items.extend(fixed)
    return proto


def _parsed(file: Path) -> Any:
    """Raises `IntegrityError` for what is no model."""
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        return onnx.load_model_from_string(file.read_bytes())
    except DecodeError as error:
        raise damaged(file, error) from error


class OnnxRuntime:
    """The port `Runtime` on a file of `compile_onnx`."""

    kind = KIND
    inline = True

    def __init__(self, file: Path) -> None:
        proto = _parsed(file)
        try:
            noted = {one.key: one.value for one in proto.metadata_props}
            self.signature = signatures.loads(noted[signatures.PROPERTY])
        except (KeyError, ValueError, TypeError) as error:
            raise damaged(file, error) from error
        inputs = self.signature.inputs
        self.columns = tuple(one.name for one in inputs)
        opened = session(packed(proto, inputs).SerializeToString(), file)
        self._feeds: list[tuple[str, Callable[[Sequence[Sequence[object]]], Any]]] = []
        if any(one.type != "text" for one in inputs):
            self._feeds.append((NUMBERS, _Numbers(inputs)))
        if any(one.type == "text" for one in inputs):
            self._feeds.append((TEXTS, _Texts(inputs)))
        self._outputs = [self.signature.output]
        self._run = opened._sess.run  # without what ONNX Runtime's Python class does on every call
        self._answer: Callable[[Any], Any] = methodcaller("ravel") if self.signature.classes else _LAST

    def predict(self, rows: Sequence[Sequence[object]]) -> list[float]:
        if not rows:
            return []
        if set(map(len, rows)) != {len(self.columns)}:
            raise BadInput("A row has more or fewer values than the model has inputs.", valid=self.columns)
        (chances,) = self._run(self._outputs, {name: feed(rows) for name, feed in self._feeds}, None)
        found: list[float] = self._answer(chances).tolist()
        return found

    async def predict_apart(self, rows: Sequence[Sequence[object]]) -> list[float]:
        return self.predict(rows)

    def close(self) -> None:
        """The session goes with the object."""


class _Numbers:
    """The columns of numbers as one table."""

    def __init__(self, inputs: Sequence[Input]) -> None:
        import numpy as np

        self._np = np
        self._inputs = [(place, one) for place, one in enumerate(inputs) if one.type != "text"]
        self._pick = picker([place for place, _ in self._inputs])
        limits = [math.inf if one.limit is None else one.limit for _, one in self._inputs]
        self._limits = np.array(limits) if min(limits, default=math.inf) < math.inf else None
        self._whole = [number for number, (_, one) in enumerate(self._inputs) if not one.null]

    def __call__(self, rows: Sequence[Sequence[object]]) -> Any:
        """Doubles (rows, columns). Raises `BadInput` for what the model does not take."""
        np = self._np
        values = list(chain.from_iterable(map(self._pick, rows)))
        if None in values:
            values = [_NAN if value is None else value for value in values]
        try:
            packed: array[float] = array("d", values)
        except (TypeError, OverflowError) as error:
            raise self._explained(rows) from error
        table = np.frombuffer(packed).reshape(len(rows), -1)
        if (self._limits is not None and (np.abs(table) > self._limits).any()) or (
            self._whole and np.isnan(table[:, self._whole]).any()
        ):
            raise self._explained(rows)
        return table

    def _explained(self, rows: Sequence[Sequence[object]]) -> BadInput:
        """The sentence for the first column with a value that is at fault."""
        for place, one in self._inputs:
            values: tuple[Any, ...] = tuple([row[place] for row in rows])
            try:
                numbers: array[float] = array("d", [_NAN if value is None else value for value in values])
            except (TypeError, OverflowError) as error:
                return _refused(one, values, str(error))
            if not one.null and any(value != value for value in numbers):
                return _refused(one, values, "a missing value")
            if one.limit is not None and any(abs(value) > one.limit for value in numbers):
                return _refused(one, values, "a number beyond the model's range")
        raise AssertionError("every column is as it should be")


class _Texts:
    """The columns of texts, likewise."""

    def __init__(self, inputs: Sequence[Input]) -> None:
        import numpy as np

        self._np = np
        known = [None if one.known is None else frozenset(one.known) for one in inputs]
        self._inputs = [(place, one, known[place]) for place, one in enumerate(inputs) if one.type == "text"]

    def __call__(self, rows: Sequence[Sequence[object]]) -> Any:
        """Strings (rows, columns). Raises `BadInput` for what the model does not take."""
        values = []
        for row in rows:
            for place, one, known in self._inputs:
                value = row[place]
                if not isinstance(value, str):
                    value = _stand_in(one, value)
                elif known is not None and value not in known:
                    raise _refused(one, (value,), f"{value!r} is no known category")
                values.append(value)
        return self._np.array(values, dtype=object).reshape(len(rows), -1)


def _stand_in(one: Input, value: object) -> str:
    """The text that stands for None or NaN. Raises `BadInput` where it is not taken, and for anything else."""
    if value is None and one.null:
        return NULL
    if isinstance(value, float) and value != value and one.nan:
        return NAN
    raise _refused(one, (value,), f"{value!r} is no text")


def _refused(one: Input, values: tuple[object, ...], why: str) -> BadInput:
    wanted = "text" if one.type == "text" else "a number"
    return BadInput(
        f"The model does not take what is sent for {one.name}, which is {wanted}: {why}.",
        value=values[0] if len(values) == 1 else f"{len(values)} values",
        hint="Send values as in training; null stands for a missing one where the model knows that.",
    )


def signature_of(file: Path) -> dict[str, object]:
    """What a file of `compile_onnx` takes and gives, as JSON. Raises `IntegrityError` for another file."""
    return OnnxRuntime(file).signature.document()
