"""What came true of predicted rows."""

from __future__ import annotations

import os
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field

from towpath.core.access import Action
from towpath.core.errors import BadInput
from towpath.verbs.candidates import in_project, known
from towpath.verbs.desk import Desk
from towpath.verbs.verb import Document, Request, Verb

_KEY, _LABEL = "key", "label"
MOST: Final = 10_000
"""Labels of one request."""


class LabelledRow(Request):
    """The key that a predicted row bore, and what came true of it."""

    key: Annotated[str, Field(min_length=1, max_length=1000)]
    label: int | Annotated[str, Field(min_length=1, max_length=512)]
    """0 or 1; of a multiclass model the class."""


class Feedback(Request):
    """Labels of a project's rows; larger tables are a worker's: `towpath feedback`."""

    project: str = Field(max_length=200)
    labels: list[LabelledRow] = Field(min_length=1, max_length=MOST)


class FeedbackTaken(Document):
    """How many labels, and how many of them are of no row that was predicted so far. `already`: nothing changed."""

    project: str
    labels: int
    unknown: int
    left_out: int
    repeated: int
    already: bool


def feedback(asked: Feedback, desk: Desk) -> FeedbackTaken:
    """The same labels again change nothing."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from towpath import wiring
    from towpath.stages.labels import are_classes

    project, settings = known(asked.project, desk), desk.office.settings
    with tempfile.TemporaryDirectory(prefix="towpath-feedback-") as folder:
        table = Path(folder) / "labels.parquet"
        columns = {_KEY: [row.key for row in asked.labels], _LABEL: [str(row.label) for row in asked.labels]}
        pq.write_table(pa.table(columns), table)
        joined = wiring.open_labels(settings).join_labels(
            project, table, key=_KEY, label=_LABEL, classes=are_classes(desk.ledger, project)
        )
    return FeedbackTaken(project=project, **asdict(joined))


def read(source: str, *, key: str, label: str) -> list[LabelledRow]:
    """The labels of a table that is no larger than a request. Raises `BadInput`."""
    import pyarrow.parquet as pq

    from towpath import wiring
    from towpath.settings import Settings

    with tempfile.TemporaryDirectory(prefix="towpath-feedback-") as folder:
        table = Path(folder) / "labels.parquet"
        settings = Settings.read(os.environ, folder=Path.cwd())
        wiring.open_sources(settings).snapshot(source, base=Path.cwd(), target=table, until=None)
        columns = pq.read_schema(table).names
        for column in (key, label):
            if column not in columns:
                raise BadInput(f"The labels have no column {column!r}.", value=column, valid=columns)
        found = pq.read_table(table, columns=[key, label]).to_pylist()
    known = [row for row in found if row[key] is not None and row[label] is not None]
    if not 0 < len(known) <= MOST:
        raise BadInput(
            f"{source} holds {len(known):,} labels; a server takes 1 to {MOST:,} at once.",
            value=len(known),
            hint="Leave larger tables to a worker: towpath feedback without TOWPATH_SERVER.",
        )
    try:
        return [LabelledRow.model_validate({"key": str(row[key]), "label": _plain(row[label])}) for row in known]
    except (ValueError, TypeError, OverflowError) as error:  # of infinity the last
        raise BadInput(
            f"The labels in {label!r} are not all 0 or 1, or of a multiclass model text or whole numbers.",
            valid=[0, 1, "a class"],
        ) from error


def _plain(value: object) -> object:
    """A label as it is sent: what a gap in the column made a float is a whole number again."""
    return int(value) if isinstance(value, bool | float) and value == int(value) else value


FEEDBACK: Final = Verb(
    name="feedback",
    about="Tell what came true of predicted rows.",
    action=Action.FEEDBACK,
    request=Feedback,
    answer=FeedbackTaken,
    perform=feedback,
    project=in_project,
    path="/v1/projects/{project}/feedback",
)
VERBS: Final = (FEEDBACK,)
