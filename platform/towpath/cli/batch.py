"""`towpath batch`"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from towpath.cli import options, output
from towpath.cli.exits import Exit
from towpath.core.errors import NotFound

if TYPE_CHECKING:
    from towpath.ports import Ledger
    from towpath.project import Project
    from towpath.settings import Settings
    from towpath.stages.batch_join import Features
    from towpath.stages.serving import Approved


def batch(
    source: Annotated[
        Path, typer.Option("--input", metavar="FILE", help="Rows to score: model inputs, or keys; Parquet or CSV.")
    ],
    target: Annotated[
        Path, typer.Option("--output", metavar="FILE", help="Where they go with their prediction: Parquet or CSV.")
    ],
    project: options.Folder = Path(),
    as_of: Annotated[
        datetime | None,
        typer.Option(
            "--as-of",
            metavar="TIME",
            formats=options.TIMES,
            help="Features as known then (UTC), for rows without an event_timestamp; now when left out.",
        ),
    ] = None,
    log: Annotated[bool, typer.Option(help="Keep the rows in the prediction log, as the gateway does.")] = True,
    as_json: options.Json = False,
) -> int:
    """Score a file of rows with the champion, verified as when serving, a block at a time.

    A file with the keys of the features and without the features has them looked up, as known at each row's
    event_timestamp, in the sources that the champion was made from.

    Example: towpath batch my-model --input june.parquet --output june-scored.parquet
    """
    import tempfile
    from contextlib import closing

    from towpath import wiring
    from towpath.cli import opening
    from towpath.cli.progress import StageProgress
    from towpath.core.access import Action
    from towpath.project import load as load_project
    from towpath.stages import batch as scoring
    from towpath.stages import batch_join
    from towpath.stages.attested import require_attested
    from towpath.stages.serving import load

    settings, loaded = opening.settings(), load_project(project)
    charter = loaded.charter
    opening.acting(settings, None, Action.BATCH, charter.project)
    scoring.require_two(source, target)
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
        (Path(folder) / "model").mkdir()
        when = wiring.now() if as_of is None else wiring.moment(as_of)
        progress.step("features")
        features = _features(settings, loaded, ledger, approved)
        joined = batch_join.join(source, approved, features, as_of=when, folder=Path(folder))
        if joined is not None:
            job = replace(job, joined=joined.file)
        runtime = load(
            approved,
            approved.runtime,
            attested=require_attested(ledger, wiring.open_keys(settings), approved.claims),
            objects=wiring.open_objects(settings),
            models=lambda: wiring.open_models(settings),
            runtimes=wiring.open_runtimes(settings),
            folder=Path(folder) / "model",
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
        missing = None if joined is None else dict(joined.missing)
        output.emit({**document, "rows": rows, "output": str(target), "logged": log, "features_missing": missing})
        return Exit.GOOD
    for view, count in (joined.missing if joined else {}).items():
        if count:
            output.messages().print(
                f"{view} knows nothing of {count:,} of {rows:,} rows at their time.", soft_wrap=True
            )
    said = f"{rows:,} rows scored by {approved.candidate} (version {approved.version}, {runtime.kind}): {target}"
    output.results().print(said, soft_wrap=True)
    return Exit.GOOD


def _features(settings: Settings, project: Project, ledger: Ledger, approved: Approved) -> Features:
    from towpath import wiring
    from towpath.stages.batch_join import Features

    record = ledger.find(approved.features)
    if record is None:
        raise NotFound(f"The ledger does not hold the features of {approved.candidate}.", value=approved.features)
    return Features(
        entry=record.entry(),
        repository=project.repository,
        digest=project.repository_digest,
        service=project.charter.features.service,
        store=wiring.open_features,
        objects=wiring.open_objects(settings),
    )


def _champion(ledger: Ledger, project: str) -> Approved:
    from towpath.stages.serving import Head, servable

    found = servable(ledger, None, project, head=Head()).champion
    if found is None:
        raise NotFound(
            f"Project {project} has no champion.",
            value=project,
            hint="Make one: `towpath run`, then `towpath promote`.",
        )
    return found
