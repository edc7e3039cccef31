"""What a model's numbers are to a client: chosen once, when the model is loaded, never in a request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from towpath.gateway.lines import ClassesLine, PredictionLine
from towpath.gateway.tensors import LABEL, OUTPUT, ClassesTensor, OutputTensor

if TYPE_CHECKING:
    from towpath.gateway.answering import Given

PREDICT, CHANCES = "predict", "predict_proba"
METHOD = "pyfunc_predict_fn"
"""The parameter of `/invocations` that chooses between classes and probabilities, by MLflow's own word for it."""

Json = dict[str, Any]


class Outputs(Protocol):
    """A row's numbers as both protocols and the log say them. `line` makes a line of the prediction log."""

    classes: tuple[str | int, ...]
    names: tuple[str, ...]
    methods: tuple[str, ...]
    line: Callable[..., PredictionLine]
    about: str

    def gathered(self, given: Sequence[Given], rows: int) -> list[float]:
        """The numbers of all rows in their order, from what each arm's rows got; every row is in one of them."""
        ...

    def tensors(self, numbers: list[float], rows: int, names: tuple[str, ...] | None) -> list[OutputTensor]:
        """The tensors of those names (None: all), from the numbers of all rows, one row's behind the other's."""
        ...

    def predictions(self, numbers: list[float], method: str | None) -> Sequence[object]:
        """What MLflow's scoring server answers each row, by the method that the client named."""
        ...

    def metadata(self) -> list[Json]:
        """The tensors by name, type and shape."""
        ...


class OneNumber:
    """A probability of class 1, or a regression's number."""

    classes: tuple[str | int, ...] = ()
    names: tuple[str, ...] = (OUTPUT,)
    methods: tuple[str, ...] = ()
    line: Callable[..., PredictionLine] = PredictionLine
    about = "the probability of class 1 of each row"

    def gathered(self, given: Sequence[Given], rows: int) -> list[float]:
        found = [0.0] * rows
        for item in given:
            for place, value in zip(item.part.positions or (), item.predictions or (), strict=True):
                found[place] = value
        return found

    def tensors(self, numbers: list[float], rows: int, names: tuple[str, ...] | None) -> list[OutputTensor]:  # noqa: ARG002 - there is one
        return [OutputTensor(name=OUTPUT, datatype="FP64", shape=[rows], data=numbers)]

    def predictions(self, numbers: list[float], method: str | None) -> Sequence[object]:  # noqa: ARG002 - as above
        return numbers

    def metadata(self) -> list[Json]:
        return [{"name": OUTPUT, "datatype": "FP64", "shape": [-1]}]


class SeveralClasses:
    """The probability of each class, in the order that training declared, and the most probable class.

    Of classes that are equally probable the first. `/invocations` answers classes, as MLflow's scoring server does of
    a scikit-learn classifier, and probabilities to who asks for `predict_proba`.
    """

    names: tuple[str, ...] = (OUTPUT, LABEL)
    methods: tuple[str, ...] = (PREDICT, CHANCES)
    about = "the probability of each class of each row, and the most probable class"

    def __init__(self, classes: tuple[str | int, ...]) -> None:
        self.classes = classes
        self.line: Callable[..., PredictionLine] = partial(ClassesLine, classes=tuple(str(one) for one in classes))
        self._datatype = "BYTES" if isinstance(classes[0], str) else "INT64"

    def gathered(self, given: Sequence[Given], rows: int) -> list[float]:
        width = len(self.classes)
        found = [0.0] * (rows * width)
        for item in given:
            for place, row in zip(item.part.positions or (), self._rows(item.predictions or []), strict=True):
                found[place * width : (place + 1) * width] = row
        return found

    def tensors(self, numbers: list[float], rows: int, names: tuple[str, ...] | None) -> list[OutputTensor]:
        found = [
            ClassesTensor(
                name=OUTPUT,
                datatype="FP64",
                shape=[rows, len(self.classes)],
                data=numbers,
                parameters={"classes": self.classes},
            ),
            OutputTensor(name=LABEL, datatype=self._datatype, shape=[rows], data=self._labels(numbers)),
        ]
        return found if names is None else [one for one in found if one.name in names]

    def predictions(self, numbers: list[float], method: str | None) -> Sequence[object]:
        return self._rows(numbers) if method == CHANCES else self._labels(numbers)

    def metadata(self) -> list[Json]:
        return [
            {"name": OUTPUT, "datatype": "FP64", "shape": [-1, len(self.classes)]},
            {"name": LABEL, "datatype": self._datatype, "shape": [-1]},
        ]

    def _rows(self, numbers: list[float]) -> list[list[float]]:
        width = len(self.classes)
        return [numbers[begin : begin + width] for begin in range(0, len(numbers), width)]

    def _labels(self, numbers: list[float]) -> list[str | int]:
        return [self.classes[row.index(max(row))] for row in self._rows(numbers)]


def outputs_of(classes: tuple[str | int, ...]) -> Outputs:
    """Those of a model with these classes; none is a model of one number."""
    return SeveralClasses(classes) if classes else ONE_NUMBER


ONE_NUMBER: Outputs = OneNumber()
