"""batch: a file of rows scored with the champion. The same record, verification, checks and log as when serving."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from towpath.core import digest as digests
from towpath.core.errors import BadInput, Unwritable
from towpath.ports import Runtime
from towpath.stages import batch_files as files
from towpath.stages.batch_answers import answers_of
from towpath.stages.serving import Approved

Log = Callable[[Sequence[Mapping[str, object]], str], object]  # lines of the prediction log, and the name of their file


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is scored and where it goes. `row_id` and `unit` name columns that the log keeps, when the file has them.

    `joined` is the source with its features, when it did not bring them (`batch_join`).
    """

    project: str
    source: Path
    target: Path
    joined: Path | None = None
    row_id: str | None = None
    unit: str | None = None


def score(
    job: Job,
    approved: Approved,
    runtime: Runtime,
    *,
    now: datetime,
    log: Log | None,
    told: Callable[[int, int | None], None],
) -> int:
    """Write the source's rows with their answers; returns how many. Memory holds one block of rows at a time.

    An answer is a column `prediction`; of a multiclass model that is the most probable class, and a column
    `probability_<class>` for each class stands behind it. `told` hears the rows done and all there are (None when the
    file does not say). The target appears whole or not at all. Raises `BadInput` that names the column, or the row,
    that the model does not take, and `Unwritable`.
    """
    require_two(job.source, job.target)
    rows_file = job.joined or job.source
    incoming = files.open_blocks(rows_file, columns=approved.columns, types=approved.types)
    answers = answers_of(approved)
    for field in answers.fields:
        if field.name in incoming.schema.names:
            raise BadInput(f"{job.source} has a column {field.name!r} already.", value=field.name, hint="Rename it.")
    mark = digests.short(digests.of_json({"input": digests.of_file(rows_file), "candidate": approved.digest}))
    partial = job.target.with_name(f".{job.target.name}.{os.getpid()}")
    done = 0
    try:
        schema = pa.schema([*incoming.schema, *answers.fields], metadata=incoming.schema.metadata)
        with files.open_target(partial, schema, like=job.target) as write:
            for number, block in enumerate(incoming.blocks):
                rows = _rows(block, approved.columns)
                chances = _predicted(runtime, rows, job.source, done)
                if approved.classes:
                    _require_finite(chances, approved.width, job.source, done)
                write(pa.Table.from_arrays([*block.columns, *answers.columns(chances)], schema=schema))
                if log is not None and rows:
                    line = _line(job, approved, block, rows, chances, request=f"batch-{mark}-{number}", now=now)
                    log([line], f"batch-{mark}-{number}")
                done += len(rows)
                told(done, incoming.rows)
        partial.replace(job.target)
    except OSError as error:
        raise Unwritable(
            f"Cannot write {job.target}: {error.strerror or error}.",
            value=str(job.target),
            hint="Name a folder that exists and can be written.",
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return done


def require_two(source: Path, target: Path) -> None:
    """Raises `BadInput` when the output would replace the input."""
    if source.resolve() == target.resolve():
        raise BadInput("Input and output are the same file.", value=str(target), hint="Name another output.")


def _rows(block: pa.Table, columns: Sequence[str]) -> list[tuple[object, ...]]:
    return list(zip(*(block.column(name).to_pylist() for name in columns), strict=True))


def _predicted(runtime: Runtime, rows: Sequence[Sequence[object]], source: Path, before: int) -> list[float]:
    """The numbers that the model answers, one row's behind the other's.

    The first row that is refused is named by its place in the file (from 1).
    """
    try:
        return runtime.predict(rows)
    except BadInput:
        for place, row in enumerate(rows):
            try:
                runtime.predict([row])
            except BadInput as found:
                raise BadInput(
                    f"Row {before + place + 1:,} of {source}: {found.message}", value=found.value, hint=found.hint
                ) from found
        raise


def _require_finite(chances: Sequence[float], width: int, source: Path, before: int) -> None:
    """Of probabilities that are no numbers some class would be the first, and look like an answer."""
    for place, one in enumerate(chances):
        if not math.isfinite(one):
            raise BadInput(
                f"Row {before + place // width + 1:,} of {source}: the model gives {one} for a class's probability.",
                hint="Leave the row out, or send values as in training.",
            )


def _line(
    job: Job,
    approved: Approved,
    block: pa.Table,
    rows: Sequence[Sequence[object]],
    chances: Sequence[float],
    *,
    request: str,
    now: datetime,
) -> dict[str, Any]:
    """One line of the prediction log for a block: rows by hand of the champion, in no rollout."""
    return {
        "v": 1,
        "request": request,
        "at": now.timestamp(),
        "project": job.project,
        "arm": "champion",
        "model": approved.model,
        "candidate": approved.candidate,
        "version": approved.version,
        "units": _named(block, job.unit),
        "buckets": [None] * len(rows),
        "keys": _named(block, job.row_id),
        "columns": list(approved.columns),
        "rows": [[None if value != value else value for value in row] for row in rows],
        "predictions": list(chances),
        "latency_ms": 0.0,
        **({"classes": [str(one) for one in approved.classes]} if approved.classes else {}),
    }


def _named(block: pa.Table, column: str | None) -> list[str | None]:
    if column is None or column not in block.column_names:
        return [None] * block.num_rows
    return [None if value is None else str(value) for value in block.column(column).to_pylist()]


def steps(told: Callable[[str], None], *, every: int = 250_000) -> Callable[[int, int | None], None]:
    """Tells a person how far it is, at the first block and then every so many rows."""
    due = [0]

    def step(done: int, total: int | None) -> None:
        if done >= due[0] or done == total:
            told(f"{done:,} rows" if total is None else f"{done:,} of {total:,} rows")
            due[0] = done + every

    return step
