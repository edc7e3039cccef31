"""Drafts as stages write them, and a clock that ticks once a record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from towpath.core import digest as digests
from towpath.core.evidence import Entry, Finding, Outcome, RecordKind, Subject
from towpath.ledger.sql import SqlLedger
from towpath.ports import Draft

START = datetime(2013, 1, 31, 5, tzinfo=UTC)


def ticking() -> Callable[[], datetime]:
    """A clock whose n-th answer is n-1 seconds and microseconds past `START`."""
    ticks = count()
    return lambda: START + next(ticks) * timedelta(seconds=1, microseconds=1)


def decision(
    key: str | None, *, project: str = "delays", candidate: str = "c-1", body: Mapping[str, Any] | None = None
) -> Draft:
    value = dict(body) if body is not None else {"decision": "PROMOTE", "reason": f"für {key}", "share": 0.25}
    return Draft(
        kind=RecordKind.DECISION,
        project=project,
        candidate=candidate,
        stage="promote",
        key=key,
        digest=digests.of_json(value),
        body=value,
    )


def entry(number: int, *, project: str = "delays", candidate: str = "c-1") -> Draft:
    """An entry of a stage with findings whose figures are as odd as measured ones are."""
    written = Entry.model_validate(
        {
            "stage": "validate",
            "project": project,
            "key": f"sha256:{number:064x}",
            "previous": None,
            "inputs": {"contract": "sha256:" + "a" * 64},
            "subjects": (
                Subject(kind="dataset", name="flights", digest="sha256:" + "b" * 64, rows=336_776, size=2**40),
            ),
            "findings": (
                Finding(
                    code="data.null",
                    outcome=Outcome.PASS,
                    subject="flights.tailnum",
                    measured=0.1 + 0.2,
                    bound="<= 0.01",
                    interval=(1e-7, 1e21),
                    sample_size=336_776,
                    reason="Zürich “quoted” \u2028 \U0001f6a3",
                ),
                Finding(code="evaluate.latency", outcome=Outcome.PASS, measured=0.7, reason="0.7 ms", volatile=True),
            ),
            "facts": {"rows": number, "mean": -0.0, "large": 1e20, "nested": {"é": [None, True, {"": "x"}]}},
            "notes": {"seconds": 1.5},
        }
    )
    return Draft(
        kind=RecordKind.ENTRY,
        project=project,
        candidate=candidate,
        stage=written.stage,
        key=written.key,
        digest=written.digest,
        body=written.model_dump(mode="json"),
    )


def fill(ledger: SqlLedger, records: int) -> None:
    """Append records of both kinds in turn."""
    for number in range(1, records + 1):
        draft = entry(number) if number % 2 else decision(f"key-{number}", body={"n": number, "share": 0.25})
        ledger.append(draft, actor="ada")
