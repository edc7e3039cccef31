"""What an exported bundle's runner makes of a model's probabilities."""

from __future__ import annotations

import numpy as np
import pytest

from towpath.stages import edge_run


def test_the_runner_gives_the_first_of_two_alike_and_no_class_for_what_is_no_number() -> None:
    chances = np.array([[0.25, 0.375, 0.375], [0.5, 0.25, 0.25]])
    assert [one["prediction"] for one in edge_run.answers(chances, [-1, 0, 7])] == [0, -1]
    chances[1, 2] = np.nan
    with pytest.raises(SystemExit, match="Row 1: the model gives no probabilities"):
        edge_run.answers(chances, [-1, 0, 7])
