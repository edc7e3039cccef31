"""The run of the tracking server that a train entry recorded, for stages that go on from it.

Apart from the stage that trains: who promotes or reads loads no library of data or models for it.
"""

from __future__ import annotations

from towpath.core.evidence import Entry
from towpath.ports import ModelRun


def trained(entry: Entry) -> ModelRun:
    """The tracked run that a train entry recorded."""
    return ModelRun(
        run_id=str(entry.notes["run_id"]),
        model_id=str(entry.notes["model_id"]),
        model_digest=entry.subject("model").digest,
        artifact_digest=str(entry.notes["artifact_digest"]),
    )
