"""The classes of a fitted classifier, as far as compiled models tell them apart."""

from __future__ import annotations

from typing import Any

LEAST = 3
"""Classes of a compiled multiclass model: of two the probability of one alone is answered, and those are 0 and 1."""


def is_known(model: Any) -> bool:
    """Whether it is a classifier of 0 and 1, or of at least three classes."""
    return is_binary(model) or len(getattr(model, "classes_", ())) >= LEAST


def is_binary(model: Any) -> bool:
    return list(getattr(model, "classes_", ())) == [0, 1]


def classes_of(model: Any) -> tuple[str | int, ...]:
    """The classes in the order of the model's probabilities, as JSON holds them; none of a model of 0 and 1."""
    if is_binary(model):
        return ()
    return tuple(int(one) if isinstance(one, float) and one.is_integer() else one for one in model.classes_.tolist())
