"""`towpath gates`"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from towpath.cli import options, output
from towpath.cli.exits import Exit
from towpath.core.gates import GATES, Gate, gate


def gates(
    code: Annotated[
        str | None, typer.Argument(metavar="CODE", help="One gate only.", autocompletion=options.gates)
    ] = None,
    as_json: options.Json = False,
) -> int:
    """Explain the gates: what each asks, at which stage, and what to do when it refuses.

    Example: towpath gates features.known_later
    """
    chosen = [gate(code)] if code else list(GATES.values())
    if as_json:
        output.emit([asdict(item) for item in chosen])
        return Exit.GOOD
    console = output.results()
    if code is None:
        table = output.table("stage", "gate", "asks", "required")
        for item in chosen:
            table.add_row(item.stage.value, item.code, item.asks, "yes" if item.required else "")
        console.print(table)
        console.print(
            "Required: no candidate is promoted unless it was asked. More of one: towpath gates CODE", soft_wrap=True
        )
        return Exit.GOOD
    _print(chosen[0])
    return Exit.GOOD


def _print(item: Gate) -> None:
    console = output.results()
    console.print(f"{item.code}, at {item.stage}", style="bold")
    console.print(f"It asks: {item.asks}", soft_wrap=True)
    console.print(f"When it refuses: {item.mend}", soft_wrap=True)
    if item.required:
        console.print("No candidate is promoted unless it was asked.", soft_wrap=True)
