"""The arguments that several commands share, and what the shell completes them with.

Completion reads only what is there, and answers nothing rather than fail.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import wraps
from pathlib import Path
from typing import Annotated

import typer

TIMES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%d %H:%M"]


def _safe(complete: Callable[[], Iterator[tuple[str, str]]]) -> Callable[[str], list[tuple[str, str]]]:
    @wraps(complete)
    def completed(incomplete: str) -> list[tuple[str, str]]:
        try:
            return [(word, about) for word, about in complete() if word.startswith(incomplete)]
        except Exception:  # noqa: BLE001 - a shell that completes shows no errors
            return []

    completed.__annotations__ = {"incomplete": str}
    del completed.__wrapped__  # Typer looks at the signature
    return completed


@_safe
def candidates() -> Iterator[tuple[str, str]]:
    """The candidates of the ledger, newest first."""
    from towpath.cli import opening
    from towpath.verbs import history

    with opening.ledger(opening.settings()) as ledger:
        for reached in history.read(ledger).candidates:
            yield reached.candidate.id, f"{reached.record.stage} {reached.candidate.outcome}"


@_safe
def projects() -> Iterator[tuple[str, str]]:
    """Folders with a charter below the working directory, and the projects of the ledger."""
    from towpath.cli import opening
    from towpath.core import names

    for file in sorted(Path().glob(f"*/{names.CHARTER_FILE}")):
        yield str(file.parent), "a model project"
    with opening.ledger(opening.settings()) as ledger:
        for name in opening.projects(ledger):
            yield name, "in the ledger"


@_safe
def gates() -> Iterator[tuple[str, str]]:
    from towpath.core.gates import GATES

    for gate in GATES.values():
        yield gate.code, gate.asks


@_safe
def stages() -> Iterator[tuple[str, str]]:
    from towpath.core.gates import Stage

    for stage in Stage:
        yield stage.value, ""


@_safe
def sabotages() -> Iterator[tuple[str, str]]:
    from towpath.example.sabotage import SABOTAGES

    for sabotage in SABOTAGES.values():
        yield sabotage.name, sabotage.about


def actor() -> str | None:
    """Who TOWPATH_ACTOR says is acting."""
    return os.environ.get("TOWPATH_ACTOR", "").strip() or None


Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else there.")]
Folder = Annotated[
    Path,
    typer.Argument(
        metavar="PROJECT",
        help="Folder of the model project, with its charter.yaml; here when left out.",
        show_default=False,
    ),
]
Project = Annotated[
    str | None,
    typer.Argument(
        metavar="PROJECT",
        help="A project's folder or its name in the ledger; all projects when left out.",
        autocompletion=projects,
    ),
]
Candidate = Annotated[
    str,
    typer.Argument(
        metavar="CANDIDATE",
        help="A candidate's id as `towpath status` lists it, or at least 4 digits of its digest.",
        autocompletion=candidates,
    ),
]
AsOf = Annotated[
    datetime | None,
    typer.Option(
        "--as-of",
        metavar="TIME",
        formats=TIMES,
        help="See the data as it was known then (UTC unless it says otherwise); today's beginning when left out.",
    ),
]
