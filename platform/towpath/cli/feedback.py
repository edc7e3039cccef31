"""`towpath feedback`"""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from towpath.cli import options, output
from towpath.cli.exits import Exit
from towpath.core.errors import BadInput

if TYPE_CHECKING:
    from towpath.adapters.prediction_log_labels import Joined
    from towpath.verbs.labels import FeedbackTaken


def feedback(
    labels: Annotated[
        str, typer.Option(metavar="SOURCE", help="A table of labels: a CSV or Parquet file, s3://… or a database's.")
    ],
    key: Annotated[str, typer.Option(metavar="COLUMN", help="Its column with the key that predicted rows bore.")],
    label: Annotated[
        str, typer.Option(metavar="COLUMN", help="Its column with what came true: 0, 1 or a class, or nothing yet.")
    ],
    project: Annotated[
        str | None,
        typer.Argument(
            metavar="PROJECT",
            help="A project's folder or its name in the ledger; the one here when left out.",
            autocompletion=options.projects,
        ),
    ] = None,
    as_json: options.Json = False,
) -> int:
    """Tell what came true of predicted rows: a rollout's losses are counted with it. Again, it changes nothing.

    Example: towpath feedback flights --labels landed.csv --key flight_id --label late
    """
    from towpath import wiring
    from towpath.cli import opening
    from towpath.core.access import Action
    from towpath.stages.labels import are_classes

    settings = opening.settings()
    if settings.server is not None:
        return _sent(labels, key, label, project, as_json=as_json)
    with opening.ledger(settings) as ledger:
        name = opening.project_name(project, ledger)
        if name is None:
            raise BadInput("There is no project here.", hint="Name one: towpath feedback PROJECT --labels …")
        classes = are_classes(ledger, name)
    opening.acting(settings, None, Action.FEEDBACK, name)
    with tempfile.TemporaryDirectory(prefix="towpath-feedback-") as folder:
        table = Path(folder) / "labels.parquet"
        wiring.open_sources(settings).snapshot(labels, base=Path.cwd(), target=table, until=None)
        joined = wiring.open_labels(settings).join_labels(name, table, key=key, label=label, classes=classes)
    if as_json:
        output.emit({"project": name, **asdict(joined)})
        return Exit.GOOD
    _print(name, joined)
    return Exit.GOOD


def _sent(labels: str, key: str, label: str, project: str | None, *, as_json: bool) -> int:
    """A small table, read here and sent to the server; a large one is a worker's."""
    from towpath.cli import asking
    from towpath.verbs import labels as verbs

    rows = verbs.read(labels, key=key, label=label)
    taken = asking.ask(verbs.FEEDBACK, verbs.Feedback(project=asking.one_project(project), labels=rows))
    if as_json:
        output.emit(taken.body)
    else:
        _print(taken.project, taken)
    return Exit.GOOD


def _print(name: str, joined: Joined | FeedbackTaken) -> None:
    console = output.results()
    known = joined.labels - joined.unknown
    said = "were there already; nothing changed" if joined.already else "are in the prediction log"
    console.print(f"{name}: {joined.labels:,} labels {said}.", soft_wrap=True)
    console.print(f"  {known:,} of a row that was predicted, {joined.unknown:,} of none so far", soft_wrap=True)
    if joined.left_out:
        console.print(f"  {joined.left_out:,} rows without a key or a label were left out", soft_wrap=True)
    if joined.repeated:
        console.print(f"  {joined.repeated:,} rows repeated a key; its first label counts", soft_wrap=True)
