"""A model's numbers as columns of a scored file. A part of batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from towpath.stages.serving import Approved

PREDICTION, PROBABILITY = "prediction", "probability_"


class Answers(Protocol):
    """The columns that a scored file has behind its own."""

    @property
    def fields(self) -> Sequence[pa.Field[Any]]: ...

    def columns(self, numbers: Sequence[float]) -> list[pa.Array[Any]]:
        """The values of `fields`, from a runtime's answer to some rows."""
        ...


@dataclass(frozen=True, kw_only=True)
class OneNumber:
    """A probability, or a regression's number."""

    fields = (pa.field(PREDICTION, pa.float64()),)

    def columns(self, numbers: Sequence[float]) -> list[pa.Array[Any]]:
        return [pa.array(numbers, type=pa.float64())]


@dataclass(frozen=True, kw_only=True)
class SeveralClasses:
    """The most probable class (of several alike the first), and each class's probability in the classes' order."""

    classes: tuple[str | int, ...]

    @property
    def fields(self) -> Sequence[pa.Field[Any]]:
        kind = pa.string() if isinstance(self.classes[0], str) else pa.int64()
        chances = [pa.field(f"{PROBABILITY}{one}", pa.float64()) for one in self.classes]
        return (pa.field(PREDICTION, kind), *chances)

    def columns(self, numbers: Sequence[float]) -> list[pa.Array[Any]]:
        table = np.asarray(numbers, dtype=np.float64).reshape(-1, len(self.classes))
        named = pa.array([self.classes[place] for place in table.argmax(axis=1)], type=self.fields[0].type)
        return [named, *(pa.array(table[:, place]) for place in range(len(self.classes)))]


def answers_of(approved: Approved) -> Answers:
    """How the answers of that model are written."""
    return SeveralClasses(classes=approved.classes) if approved.classes else OneNumber()
