"""Who stands on a table of a contract: models, feature views and endpoints over all projects that may be read."""

from __future__ import annotations

from dataclasses import asdict
from typing import Final

from pydantic import Field

from towpath.core.evidence import RecordKind
from towpath.verbs.desk import Desk
from towpath.verbs.verb import Document, Request, Verb


class AskConsumers(Request):
    """Of a table by its name in the contract, or of one column of it."""

    table: str = Field(max_length=200)
    column: str | None = Field(default=None, max_length=200)


class ConsumerRow(Document):
    """A registered model that was made from the table."""

    project: str
    model: str = Field(description="Registered name and version.")
    candidate: str
    standing: str = Field(description="champion, challenger (of an open rollout) or registered.")
    contract: str = Field(description="Digest of the contract's text that it was made by.")
    inputs: list[str] = Field(description="Inputs of its signature; of those, the column's where one is asked for.")
    views: list[str] = Field(description="Feature views that it reads, which have a feature of the column's name.")
    endpoints: list[str] = Field(description="Where gateways answer with it now.")


class ConsumersFound(Document):
    """Those of the projects that may be read. `hidden`: whether there are projects that may not."""

    table: str
    column: str | None
    consumers: list[ConsumerRow]
    hidden: bool


def ask_consumers(asked: AskConsumers, desk: Desk) -> ConsumersFound:
    """From the record alone. A table that nobody stands on has none."""
    from towpath.stages.lineage import consumers_of, registered

    entries = {record.project for record in desk.ledger.records(kind=RecordKind.ENTRY)}
    readable = [name for name in entries if desk.reads(name)]
    columns = (asked.column,) if asked.column is not None else ()
    found = consumers_of(asked.table, columns, registered(desk.ledger, desk.rollouts, projects=readable))
    return ConsumersFound(
        table=asked.table,
        column=asked.column,
        consumers=[ConsumerRow.model_validate(asdict(one)) for one in found],
        hidden=len(readable) < len(entries),
    )


CONSUMERS: Final = Verb(
    name="contract-consumers",
    about="List the models, feature views and endpoints that stand on a table, over all projects that may be read.",
    action=None,
    request=AskConsumers,
    answer=ConsumersFound,
    perform=ask_consumers,
    path="/v1/tables/{table}/consumers",
    changes=False,
)
VERBS: Final = (CONSUMERS,)
