"""A folder to draft in, and `towpath` run in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.conftest import Cli, Ran
from cli.conftest import cli as bare_cli
from cli.conftest import place as bare_place

__all__ = ["bare_cli", "bare_place"]


@pytest.fixture
def place(bare_place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory without any of this machine's settings, and somebody who works in it."""
    monkeypatch.setenv("TOWPATH_ACTOR", "ada")
    return bare_place


@pytest.fixture
def cli(place: Path, bare_cli: Cli) -> Cli:
    """Runs a command in this process, in `place`; a traceback on either stream is a failure."""

    def call(*arguments: str) -> Ran:
        ran = bare_cli(*arguments)
        assert "Traceback" not in ran.out + ran.err
        return ran

    return call


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The services' own warnings are not errors of the path."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore:::mlflow"))
