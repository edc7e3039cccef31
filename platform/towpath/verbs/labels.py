"""What came true of predicted rows."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field

from towpath.core.access import Action
from towpath.verbs.candidates import in_project, known
from towpath.verbs.desk import Desk
from towpath.verbs.verb import Document, Request, Verb

_KEY, _LABEL = "key", "label"


class LabelledRow(Request):
    """The key that a predicted row bore, and what came true of it."""

    key: Annotated[str, Field(min_length=1, max_length=1000)]
    label: Literal[0, 1]


class Feedback(Request):
    """Labels of a project's rows; larger tables are a worker's: `towpath feedback`."""

    project: str = Field(max_length=200)
    labels: list[LabelledRow] = Field(min_length=1, max_length=10_000)


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

    project, settings = known(asked.project, desk), desk.office.settings
    with tempfile.TemporaryDirectory(prefix="towpath-feedback-") as folder:
        table = Path(folder) / "labels.parquet"
        columns = {_KEY: [row.key for row in asked.labels], _LABEL: [row.label for row in asked.labels]}
        pq.write_table(pa.table(columns), table)
        joined = wiring.open_labels(settings).join_labels(project, table, key=_KEY, label=_LABEL)
    return FeedbackTaken(project=project, **asdict(joined))


VERBS: Final = (
    Verb(
        name="feedback",
        about="Tell what came true of predicted rows.",
        action=Action.FEEDBACK,
        request=Feedback,
        answer=FeedbackTaken,
        perform=feedback,
        project=in_project,
        path="/v1/projects/{project}/feedback",
    ),
)
