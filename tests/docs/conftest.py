"""A folder in which `towpath demo` was run, and a shell in a copy of it for each page."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from docs import pages

ACTOR = "ada"


_SECONDS = 1_800  # that the demo may take on a busy machine; the first test that asks for it waits so long


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "demonstrated" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(_SECONDS), append=False)


@dataclass(frozen=True, kw_only=True)
class Printed:
    """What a command ended with and printed."""

    code: int
    out: str
    err: str


@dataclass(kw_only=True)
class Shell:
    """A shell that keeps its variables, its folder and its last exit code from one command to the next."""

    folder: Path
    memory: Path
    environment: dict[str, str]
    replaced: dict[str, str] = field(default_factory=dict)  # addresses that a page makes up, by those of this test
    known: dict[str, str] = field(default_factory=dict)  # digests that the page shows, by those of this run
    code: int = 0

    def run(self, command: str) -> Printed:
        text = pages.with_known(command, self.known)
        for made_up, real in self.replaced.items():
            text = text.replace(made_up, real)
        variables, place = self.memory / "variables", self.memory / "place"
        script = f"""
            [ -f {variables} ] && source {variables} && cd "$(cat {place})"
            trap 'code=$?; export -p > {variables}; pwd > {place}; exit $code' EXIT
            (exit {self.code})
        """
        done = subprocess.run(
            ["bash", "-c", f"{script}\n{text}"],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        self.code = done.returncode
        return Printed(code=done.returncode, out=done.stdout, err=done.stderr)

    def as_on_the_page(self, text: str) -> str:
        """What was printed, with the addresses that the page makes up."""
        for made_up, real in self.replaced.items():
            text = text.replace(real, made_up)
        return text


def environment(home: Path) -> dict[str, str]:
    """This process's, without its settings: a terminal of 120 columns and a user called ada."""
    ours = ("TOWPATH_", "PREFECT_", "PYTEST_", "FEAST_", "AWS_", "MLFLOW_T")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    path = os.pathsep.join([str(Path(sys.executable).parent), kept["PATH"]])
    return kept | {"PATH": path, "HOME": str(home), "COLUMNS": "120", "TOWPATH_ACTOR": ACTOR, "LC_ALL": "C.UTF-8"}


@dataclass(frozen=True, kw_only=True)
class Demonstrated:
    """Where `towpath demo` was run, and what it printed."""

    folder: Path
    printed: Printed


@pytest.fixture(scope="session")
def demonstrated(tmp_path_factory: pytest.TempPathFactory) -> Demonstrated:
    folder = tmp_path_factory.mktemp("demo")
    shell = Shell(folder=folder, memory=tmp_path_factory.mktemp("memory"), environment=environment(folder))
    printed = shell.run("towpath demo")
    assert printed.code == 0, printed.out + printed.err
    return Demonstrated(folder=folder, printed=printed)


@pytest.fixture
def shell_after_demo(
    demonstrated: Demonstrated, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], Shell]]:
    """Makes a shell in a copy of the demo's folder, so that pages do not see each other's runs."""
    short = tmp_path_factory.mktemp("p")  # a path that a table of 120 columns does not fold

    def make() -> Shell:
        folder, memory = short / "work", short / "memory"
        memory.mkdir()
        shutil.copytree(demonstrated.folder, folder, symlinks=True)
        return Shell(folder=folder, memory=memory, environment=environment(folder))

    yield make
    shutil.rmtree(short / "work", ignore_errors=True)
