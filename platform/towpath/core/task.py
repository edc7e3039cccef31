"""What a model predicts."""

from __future__ import annotations

from enum import StrEnum


class Task(StrEnum):
    """What the target is: two classes (0 and 1), several classes (text or integers), or a number."""

    BINARY = "binary"
    MULTICLASS = "multiclass"
    REGRESSION = "regression"
