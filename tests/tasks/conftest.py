"""A module's `project` walked up to registration, in a state of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from path import small
from tasks import tables
from towpath.core.evidence import Candidate


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def registered(project: Path, state: Path) -> Candidate:
    with small.opened(project, state, as_of=tables.AS_OF) as work:
        return small.walk(work)
