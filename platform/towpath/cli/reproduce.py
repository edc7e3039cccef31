"""`towpath reproduce`"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

from towpath.cli import options, output
from towpath.cli.exits import Exit

if TYPE_CHECKING:
    from towpath.core.evidence import Candidate
    from towpath.core.reproduction import Pin
    from towpath.ports import Ledger
    from towpath.stages.reproduce import Reproduction


def reproduce(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="NAME@VERSION, NAME@champion, or a candidate as `towpath status` lists it.",
            autocompletion=options.candidates,
        ),
    ],
    other: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="MODEL",
            help="Train nothing; say what this other one was made of, where it differs, and what came of it.",
            autocompletion=options.candidates,
        ),
    ] = None,
    as_json: options.Json = False,
) -> int:
    """Make a model again from its evidence alone, and compare; exit code 3 when its digest or its metrics differ.

    Data, features, code, parameters and seed come from the record and its stored objects, each verified before it is
    used, never from a project's folder. Libraries, Python and platform are this machine's: what of them moved is named.

    Example: towpath reproduce flights@3
    """
    from towpath import wiring
    from towpath.cli import opening
    from towpath.cli.progress import StageProgress
    from towpath.core.access import Action
    from towpath.stages import reproduce as stage

    settings = opening.settings()
    with (
        output.libraries_on_stderr(),
        StageProgress(output.messages()) as progress,
        opening.ledger(settings) as ledger,
    ):
        progress.begin("reproduce")
        candidate = _meant(model, ledger)
        opening.acting(settings, None, Action.REPRODUCE, candidate.project)
        world = wiring.open_reproducing(settings, ledger=ledger, told=progress.step)
        if other is None:
            found = stage.reproduce(candidate, world)
        else:
            second = _meant(other, ledger)
            opening.acting(settings, None, Action.REPRODUCE, second.project)
            found = stage.against(candidate, second, world)
        progress.end("reproduce", "PASS" if found.same else "FAIL")
    if as_json:
        output.emit(_document(found))
    else:
        _print(found)
    return Exit.GOOD if found.same else Exit.REFUSED


def _meant(text: str, ledger: Ledger) -> Candidate:
    from towpath.cli import opening
    from towpath.stages.reproduce import named

    project, _, version = text.rpartition("@")
    return named(ledger, project, version) if project else opening.candidate(text, ledger)


def _document(found: Reproduction) -> dict[str, Any]:
    from towpath.stages.reproduce import NEVER_PINNED

    return {
        "candidate": found.candidate,
        "against": found.other,
        "same": found.same,
        "attested_by": found.key,
        "model": {"recorded": found.recorded, "found": found.found, "same": found.recorded == found.found},
        "prediction_gap": found.gap,
        "pins": [
            {
                "what": pin.what.value,
                "recorded": pin.recorded,
                "standing": pin.standing.value,
                "changes": list(pin.changes),
            }
            for pin in found.pins
        ],
        "metrics": [
            {
                "name": one.name,
                "recorded": one.recorded,
                "found": None if math.isnan(one.found) else one.found,
                "same": one.same,
            }
            for one in found.figures
        ],
        "never_pinned": list(NEVER_PINNED),
    }


def _print(found: Reproduction) -> None:
    from towpath.core.digest import short

    console = output.results()
    pins = output.table("what", "recorded", "is", "difference")
    for pin in found.pins:
        pins.add_row(pin.what.value, pin.recorded, pin.standing.value, _told(pin))
    console.print(pins)
    there = found.other or "made again"
    figures = output.table("figure", "recorded", there, "", right=["recorded", there])
    figures.add_row("model digest", short(found.recorded), short(found.found), _same(found.recorded == found.found))
    for one in found.figures:
        there_is = "none" if math.isnan(one.found) else f"{one.found:.6f}"
        figures.add_row(one.name, f"{one.recorded:.6f}", there_is, _same(one.same))
    console.print(figures)
    for line in _conclusion(found):
        console.print(line, soft_wrap=True)


def _same(same: bool) -> str:
    return "same" if same else "differs"


def _told(pin: Pin) -> str:
    shown = pin.changes[:5]
    return "\n".join([*shown, *([f"and {len(pin.changes) - 5} more: --json"] if len(pin.changes) > 5 else [])])


def _conclusion(found: Reproduction) -> list[str]:
    from towpath.stages.reproduce import NEVER_PINNED

    moved = ", ".join(pin.what.value for pin in found.moved)
    signed = f", attested by key {found.key[:12]}" if found.key else ", which nobody signed: it is not registered"
    if found.other is not None:
        return [
            f"{found.candidate} and {found.other} "
            + ("are the same model." if found.same else f"differ. Moved: {moved or 'nothing that is pinned'}.")
        ]
    if found.same:
        more = f" though these moved: {moved}" if moved else ""
        return [f"{found.candidate}{signed}, is reproduced{more}: model and metrics are the same to the last bit."]
    lines = [f"{found.candidate}{signed}, is not reproduced. Moved: {moved or 'nothing that is pinned'}."]
    if found.gap is not None:
        lines.append(f"Predictions on the holdout differ by at most {found.gap:.3g}.")
    if not moved:
        lines += ["Then it is something that no evidence pins:", *(f"  - {item}" for item in NEVER_PINNED)]
    return lines
