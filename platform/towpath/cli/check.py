"""`towpath check`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from towpath.cli import options, output
from towpath.cli.exits import Exit

if TYPE_CHECKING:
    from towpath.stages.check import Checked


def check(project: options.Folder = Path(), as_json: options.Json = False) -> int:
    """Check a project's charter, contracts, transforms, features and training code, offline, every mistake at once.

    Example: towpath check my-model
    """
    from towpath import wiring
    from towpath.core.errors import Problems
    from towpath.stages.check import check as checked_project

    with output.libraries_on_stderr():
        checked = checked_project(project, features=wiring.open_features(), transforms=wiring.open_transforms())
    if as_json:
        output.emit(_document(checked))
        return Exit.INPUT if checked.problems else Exit.GOOD
    if checked.problems:
        raise Problems(list(checked.problems))
    _print(checked)
    return Exit.GOOD


def _document(checked: Checked) -> dict[str, Any]:
    return {
        "project": checked.project,
        "good": not checked.problems,
        "problems": [output.described(problem) for problem in checked.problems],
        "tables": dict(checked.tables),
        "transforms": list(checked.transforms),
        "views": {view.name: {"keys": list(view.keys), "features": list(view.features)} for view in checked.views},
        "inputs": list(checked.inputs),
    }


def _print(checked: Checked) -> None:
    table = output.table("checked", "found")
    table.add_row("charter", checked.project)
    table.add_row("contracts", ", ".join(f"{name} ({count} columns)" for name, count in checked.tables.items()))
    table.add_row("transforms", ", ".join(checked.transforms))
    table.add_row("feature views", ", ".join(f"{view.name} ({len(view.features)})" for view in checked.views))
    table.add_row("model inputs", f"{len(checked.inputs)}: {', '.join(checked.inputs)}")
    console = output.results()
    console.print(table)
    console.print(f"{checked.project} holds together. Next: towpath run", soft_wrap=True)
