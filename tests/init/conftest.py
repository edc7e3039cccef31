"""A folder to draft in, and `towpath` run in it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from towpath.cli import run as towpath


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What a command ended with and wrote."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Cli = Callable[..., Ran]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory without any of this machine's settings."""
    for name in list(os.environ):
        if name.startswith(("TOWPATH_", "PREFECT_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TOWPATH_STATE", "state")
    monkeypatch.setenv("TOWPATH_ACTOR", "ada")
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def cli(place: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs a command in this process, in `place`; a traceback on either stream is a failure."""

    def call(*arguments: str) -> Ran:
        capsys.readouterr()
        code = towpath(arguments)
        captured = capsys.readouterr()
        assert "Traceback" not in captured.out + captured.err
        return Ran(code=code, out=captured.out, err=captured.err)

    return call


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The services' own warnings are not errors of the path."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore:::mlflow"))
