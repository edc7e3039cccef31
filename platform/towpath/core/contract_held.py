"""Whose contracts a candidate was held to, as its validation notes it: a decision asks, for champions change. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from towpath.core import digest as digests
from towpath.core.evidence import Candidate
from towpath.core.gates import Stage

CONTRACT: Final = "contract/"
HELD_TO: Final = "held_to"
"""Inputs of `validate`: digests of its contracts by table, and what it was held to."""


def contracts_of(candidate: Candidate) -> dict[str, str]:
    """The contracts that a candidate was validated by, as inputs of that stage; none where it was not."""
    if Stage.VALIDATE not in candidate.stages:
        return {}
    inputs = candidate.entry(Stage.VALIDATE).inputs
    return {name: digest for name, digest in inputs.items() if name.startswith(CONTRACT)}


def held_to(champions: Mapping[str, str], inputs: Mapping[str, str]) -> dict[str, str]:
    """What a validation with these inputs notes of the champion's contracts: nothing where it was made by the same.

    So a stage whose contracts say what the champion's say is the same whoever is champion.
    """
    return {} if champions.items() <= inputs.items() else {HELD_TO: digests.of_json(dict(champions))}


def unheld(candidate: Candidate, champions: Mapping[str, str]) -> bool:
    """Whether its contracts are others than the champion's, and were not held to those."""
    if Stage.VALIDATE not in candidate.stages:
        return False  # which is told as such
    inputs = candidate.entry(Stage.VALIDATE).inputs
    return not held_to(champions, inputs).items() <= inputs.items()
