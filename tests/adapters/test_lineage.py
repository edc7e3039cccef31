"""The record as OpenLineage events: valid by the client's own classes, linked by digests, the same when sent twice."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState

from ledger.drafts import fill, ticking
from rollout.house import registered
from towpath.adapters import lineage_openlineage as lineage
from towpath.cli import run
from towpath.core.errors import Misconfigured, Unreachable
from towpath.core.evidence import Outcome, Record
from towpath.ledger.sql import SqlLedger


@pytest.fixture
def records(tmp_path: Path) -> list[Record]:
    with SqlLedger.open(f"sqlite:///{tmp_path / 'ledger.db'}", clock=ticking()) as ledger:
        registered(ledger, 1)
        registered(ledger, 2, outcome=Outcome.FAIL)
        fill(ledger, 2)
        return list(ledger.records())


@pytest.fixture
def collector() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Takes events as a lineage service does."""
    taken: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/api/v1/lineage"
            taken.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(201)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", taken
    server.shutdown()
    server.server_close()
    thread.join()


def _parsed(event: dict[str, Any]) -> RunEvent:
    """As the client's classes take it, with their validators."""

    def datasets(kind: type[InputDataset | OutputDataset], given: list[dict[str, Any]]) -> list[Any]:
        return [kind(namespace=item["namespace"], name=item["name"]) for item in given]

    return RunEvent(
        eventTime=event["eventTime"],
        eventType=RunState(event["eventType"]),
        producer=event["producer"],
        run=Run(runId=event["run"]["runId"]),
        job=Job(namespace=event["job"]["namespace"], name=event["job"]["name"]),
        inputs=datasets(InputDataset, event.get("inputs", [])),
        outputs=datasets(OutputDataset, event.get("outputs", [])),
    )


def test_every_entry_is_a_run_with_its_datasets_by_digest(records: list[Record]) -> None:
    entries = [record for record in records if record.kind == "entry"]
    found = [json.loads(line) for line in lineage.lines(records)]
    assert len(found) == len(entries)
    for event, record in zip(found, entries, strict=True):
        _parsed(event)
        entry = record.entry()
        assert UUID(event["run"]["runId"]).variant == "specified in RFC 4122"
        assert datetime.fromisoformat(event["eventTime"]) == record.at
        assert event["job"]["name"] == f"{entry.project}.{entry.stage}"
        assert event["schemaURL"].startswith("https://openlineage.io/spec/")
        told = event["run"]["facets"]["towpath_record"]
        assert (told["hash"], told["actor"], told["_producer"]) == (record.hash, record.actor, lineage.PRODUCER)
        digests = {item["facets"]["version"]["datasetVersion"] for item in event.get("outputs", [])}
        assert digests == {subject.digest for subject in entry.subjects}
    assert len({event["run"]["runId"] for event in found}) == len(found)
    assert {event["eventType"] for event in found} == {"COMPLETE", "FAIL"}


def test_inputs_are_the_outputs_of_the_stage_before(records: list[Record]) -> None:
    found = {json.loads(line)["run"]["facets"]["towpath_record"]["entry"]: line for line in lineage.lines(records)}
    linked = 0
    for line in found.values():
        event = json.loads(line)
        entry = next(record.entry() for record in records if record.digest == _entry(event))
        if entry.previous in found:
            assert _names(event.get("inputs")) == _names(json.loads(found[entry.previous]).get("outputs"))
            linked += bool(event.get("inputs"))
    assert linked


def _entry(event: dict[str, Any]) -> str:
    return str(event["run"]["facets"]["towpath_record"]["entry"])


def _names(datasets: list[dict[str, Any]] | None) -> list[tuple[str, str]]:
    return [(item["namespace"], item["name"]) for item in datasets or []]


def test_events_reach_a_collector(records: list[Record], collector: tuple[str, list[dict[str, Any]]]) -> None:
    url, taken = collector
    assert lineage.send(records, url) == len(taken) > 10
    assert taken == [json.loads(line) for line in lineage.lines(records)]


def test_a_collector_that_is_away_or_none(records: list[Record], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Misconfigured, match="no address"):
        lineage.send(records, "nowhere")
    monkeypatch.setattr("time.sleep", lambda _: None)
    with pytest.raises(Unreachable, match="event 1"):
        lineage.send(records, "http://127.0.0.1:9")


def test_the_command_exports_and_sends(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    collector: tuple[str, list[dict[str, Any]]],
) -> None:
    state = tmp_path / ".towpath"
    state.mkdir()
    with SqlLedger.open(f"sqlite:///{state / 'ledger.db'}", clock=ticking()) as ledger:
        registered(ledger, 1)
    monkeypatch.chdir(tmp_path)
    assert run(["ledger", "export", "--format", "openlineage", "events.jsonl"]) == 0
    url, taken = collector
    assert run(["ledger", "export", "--format", "openlineage", "--url", url]) == 0
    assert [json.loads(line) for line in Path("events.jsonl").read_text().splitlines()] == taken
    capsys.readouterr()
    assert run(["ledger", "export", "--url", url]) == 2
    assert run(["ledger", "export"]) == 2
