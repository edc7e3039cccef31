"""The record as OpenLineage run events (https://openlineage.io/spec/2-0-2/OpenLineage.json).

Each entry of a stage is a run that is over: its job is `<project>.<stage>`, its outputs are the subjects that the entry
speaks of and its inputs those of the entry before, each a dataset whose version is the content's digest. The run's id
is made of the entry's digest, so that an event that is sent twice is one run. FAIL is a stage that a gate refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final
from uuid import UUID

from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.generated.base import DatasetFacet, RunFacet
from openlineage.client.generated.dataset_version_dataset import DatasetVersionDatasetFacet
from openlineage.client.serde import Serde
from openlineage.client.transport.http import HttpConfig, HttpTransport

from towpath.core.errors import Misconfigured, Unreachable
from towpath.core.evidence import Entry, Outcome, Record, RecordKind, Subject

PRODUCER: Final = "https://towpath.dev"
_NAMESPACE: Final = "towpath"
_FACET: Final = "towpath_record"  # custom facets bear their maker's name
_FAILED: Final = {Outcome.FAIL, Outcome.ERROR}


def lines(records: Iterable[Record]) -> Iterator[str]:
    """Each event as one line of JSON."""
    for event in events(records):
        yield Serde.to_json(event)


def send(records: Iterable[Record], url: str) -> int:
    """Send each event to a collector; how many. Raises `Unreachable`, and `Misconfigured` for no address."""
    from requests import RequestException

    try:
        transport = HttpTransport(HttpConfig(url=url, timeout=10.0))
    except ValueError as error:
        raise Misconfigured(f"{url!r} is no address of a collector: {error}.", value=url) from error
    count = 0
    for event in events(records):
        try:
            transport.emit(event)
        except RequestException as error:
            raise Unreachable(
                f"The collector at {url} did not take event {count + 1}: {error}.",
                value=url,
                hint="Sending again is safe: an event that was taken twice is one run.",
            ) from error
        count += 1
    return count


def events(records: Iterable[Record]) -> Iterator[RunEvent]:
    """The event of every entry, in the order of the records."""
    entries: dict[str, Entry] = {}
    for record in records:
        if record.kind is not RecordKind.ENTRY:
            continue
        entry = record.entry()
        entries[entry.digest] = entry
        before = entries.get(entry.previous) if entry.previous is not None else None
        yield _event(record, entry, before)


def _event(record: Record, entry: Entry, before: Entry | None) -> RunEvent:
    told = RunFacet(producer=PRODUCER).with_additional_properties(
        candidate=record.candidate,
        sequence=record.sequence,
        hash=record.hash,
        entry=entry.digest,
        actor=record.actor,
        outcome=entry.outcome.value,
    )
    assert isinstance(told, RunFacet)
    return RunEvent(
        eventTime=record.at.isoformat(),
        eventType=RunState.FAIL if entry.outcome in _FAILED else RunState.COMPLETE,
        producer=PRODUCER,
        run=Run(runId=str(_run_id(entry.digest)), facets={_FACET: told}),
        job=Job(namespace=_NAMESPACE, name=f"{entry.project}.{entry.stage}"),
        inputs=[_input(entry.project, subject) for subject in before.subjects] if before is not None else [],
        outputs=[_output(entry.project, subject) for subject in entry.subjects],
    )


def _run_id(digest: str) -> UUID:
    """A UUID of version 8, which RFC 9562 leaves to its maker, of the digest's first bytes."""
    raw = bytearray.fromhex(digest.removeprefix("sha256:")[:32])
    raw[6] = raw[6] & 0x0F | 0x80
    raw[8] = raw[8] & 0x3F | 0x80
    return UUID(bytes=bytes(raw))


def _input(project: str, subject: Subject) -> InputDataset:
    return InputDataset(namespace=f"{_NAMESPACE}/{project}", name=_name(subject), facets=_version(subject))


def _output(project: str, subject: Subject) -> OutputDataset:
    return OutputDataset(namespace=f"{_NAMESPACE}/{project}", name=_name(subject), facets=_version(subject))


def _name(subject: Subject) -> str:
    return f"{subject.kind}/{subject.name}"


def _version(subject: Subject) -> dict[str, DatasetFacet]:
    return {"version": DatasetVersionDatasetFacet(datasetVersion=subject.digest, producer=PRODUCER)}
