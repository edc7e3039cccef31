"""`towpath batch`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from towpath.cli import options, output
from towpath.cli.exits import Exit
from towpath.core.errors import NotFound

if TYPE_CHECKING:
    from towpath.ports import Ledger
    from towpath.stages.serving import Approved


def batch(
    source: Annotated[
        Path, typer.Option("--input", metavar="FILE", help="Rows to score: every model input, as Parquet or CSV.")
    ],
    target: Annotated[
        Path, typer.Option("--output", metavar="FILE", help="Where they go with their prediction: Parquet or CSV.")
    ],
    project: options.Folder = Path(),
    log: Annotated[bool, typer.Option(help="Keep the rows in the prediction log, as the gateway does.")] = True,
    as_json: options.Json = False,
) -> int:
    """Score a file of rows with the champion, verified as when serving, a block at a time.

    Example: towpath batch my-model --input june.parquet --output june-scored.parquet
    """
    import tempfile
    from contextlib import closing

    from towpath import wiring
    from towpath.cli import opening
    from towpath.cli.progress import StageProgress
    from towpath.project import load as load_project
    from towpath.stages import batch as scoring
    from towpath.stages.serving import load

    settings, charter = opening.settings(), load_project(project).charter
    job = scoring.Job(
        project=charter.project,
        source=source,
        target=target,
        row_id=charter.features.row_id,
        unit=charter.rollout.unit if charter.rollout else None,
    )
    with (
        output.libraries_on_stderr(),
        StageProgress(output.messages()) as progress,
        tempfile.TemporaryDirectory(prefix="towpath-batch-") as folder,
        opening.ledger(settings) as ledger,
    ):
        progress.begin("batch")
        progress.step("the champion, verified")
        approved = _champion(ledger, charter.project)
        runtime = load(
            approved,
            approved.runtime,
            objects=wiring.open_objects(settings),
            models=lambda: wiring.open_models(settings),
            runtimes=wiring.open_runtimes(settings),
            folder=Path(folder),
        )
        with closing(runtime):
            keep = wiring.open_prediction_log(settings) if log else None
            rows = scoring.score(
                job,
                approved,
                runtime,
                now=wiring.now(),
                log=None if keep is None else lambda lines, name: keep.write(lines, name=name),
                told=scoring.steps(progress.step),
            )
        progress.end("batch", "PASS")
    if as_json:
        document = {"candidate": approved.candidate, "version": approved.version, "runtime": runtime.kind}
        output.emit({**document, "rows": rows, "output": str(target), "logged": log})
        return Exit.GOOD
    said = f"{rows:,} rows scored by {approved.candidate} (version {approved.version}, {runtime.kind}): {target}"
    output.results().print(said, soft_wrap=True)
    return Exit.GOOD


def _champion(ledger: Ledger, project: str) -> Approved:
    from towpath import wiring
    from towpath.stages.serving import Head, servable

    found = servable(ledger, None, project, head=Head(), now=wiring.now()).champion
    if found is None:
        raise NotFound(
            f"Project {project} has no champion.",
            value=project,
            hint="Make one: `towpath run`, then `towpath promote`.",
        )
    return found
