"""status, show, promote and ledger, on a ledger and an object store with real entries."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cli.conftest import Cli, Recorded, crown, report


def test_status_lists_tips_with_outcome_time_and_actor(cli: Cli, recorded: Recorded) -> None:
    ran = cli("status", "--json")
    assert ran.code == 0
    by_id = {item["candidate"]: item for item in ran.json["candidates"]}
    assert set(by_id) == {recorded.passed.id, recorded.refused.id}
    assert by_id[recorded.passed.id]["stage"] == "validate"
    assert by_id[recorded.passed.id]["outcome"] == "PASS"
    assert by_id[recorded.passed.id]["as_of"] == "2024-01-29T00:00:00+00:00"
    assert by_id[recorded.passed.id]["actor"] == recorded.work.actor
    assert by_id[recorded.refused.id]["refused_by"] == ["data.schema"]
    assert [item["candidate"] for item in ran.json["candidates"]] == [recorded.refused.id, recorded.passed.id]


@pytest.mark.parametrize("named", ["visits", "project"])
def test_status_takes_a_name_or_a_folder(cli: Cli, recorded: Recorded, named: str) -> None:
    assert len(cli("status", named, "--json").json["candidates"]) == 2


def test_status_marks_the_champion_and_shows_incidents(cli: Cli, recorded: Recorded) -> None:
    crown(recorded, recorded.passed)
    report(recorded, recorded.refused)
    ran = cli("status")
    line = next(line for line in ran.out.splitlines() if recorded.passed.id in line)
    assert "champion" in line
    assert "integrity.data at validate: the stored bytes have changed" in ran.out
    document = cli("status", "--json").json
    assert [item["champion"] for item in document["candidates"]] == [False, True]
    assert document["incidents"][0]["findings"][0]["code"] == "integrity.data"


def test_status_of_an_unknown_project_names_the_known(cli: Cli, recorded: Recorded) -> None:
    ran = cli("status", "visist", "--json")
    assert ran.code == 2
    assert ran.json["error"]["valid"] == ["visits"]


def test_status_without_a_ledger_makes_none(cli: Cli, place: Path) -> None:
    ran = cli("status")
    assert (ran.code, list(place.iterdir())) == (0, [])
    assert "towpath run" in ran.out


def test_show_says_first_why_a_candidate_was_refused(cli: Cli, recorded: Recorded) -> None:
    ran = cli("show", recorded.refused.id)
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert lines[1:3] == ["Refused at validate:", "  FAIL data.schema (visits): visits: column pages is missing"]
    assert "change the contract" in lines[3]
    assert "checks.html (15 B)" in ran.out


def test_show_as_json_holds_every_entry(cli: Cli, recorded: Recorded) -> None:
    document = cli("show", recorded.refused.id, "--json").json
    assert [entry["stage"] for entry in document["entries"]] == ["ingest", "validate"]
    assert [entry["digest"] for entry in document["entries"]] == [entry.digest for entry in recorded.refused.entries]
    assert document["refused"][0]["mend"].startswith("Have the producer restore the column")


@pytest.mark.parametrize("digits", [4, 12, 64])
def test_show_finds_a_candidate_by_its_digits(cli: Cli, recorded: Recorded, digits: int) -> None:
    assert recorded.passed.digest is not None
    named = recorded.passed.digest.removeprefix("sha256:")[:digits]
    assert cli("show", named, "--json").json["candidate"] == recorded.passed.id


@pytest.mark.parametrize("named", ["abc", "visits-0000000", "nobody-1234abcd", "sha256:zz"])
def test_show_of_nothing_lists_how_to_name_it(cli: Cli, recorded: Recorded, named: str) -> None:
    ran = cli("show", named)
    assert ran.code == 2
    assert "names no candidate" in ran.err
    assert "towpath status" in ran.err


def test_show_opens_a_page_or_says_where_it_is(
    cli: Cli, recorded: Recorded, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROWSER", "true %s")  # the command `true`, as the browser
    ran = cli("show", recorded.passed.id, "--open", "checks.html")
    file = place / "state/reports" / recorded.passed.id / "checks.html"
    assert (ran.code, ran.out) == (0, f"{file}\n")
    assert file.read_text() == "<h1>Checks</h1>"


def test_show_one_stage_has_its_facts(cli: Cli, recorded: Recorded) -> None:
    ran = cli("show", recorded.passed.id, "--stage", "validate")
    assert 'quarantined: {"visits": 2}' in ran.out
    assert "ingest.rows" not in ran.out
    refused = cli("show", recorded.passed.id, "--stage", "train")
    assert refused.code == 2
    assert "Valid: ingest, validate." in refused.err


def test_show_a_finding_in_full(cli: Cli, recorded: Recorded) -> None:
    ran = cli("show", recorded.passed.id, "--finding", "data.range")
    assert "measured: 0.036 [0.01, 0.09]" in ran.out
    assert "sample: 56" in ran.out
    unknown = cli("show", recorded.passed.id, "--finding", "data.rnge", "--json")
    assert (unknown.code, unknown.json["error"]["value"]) == (2, "data.rnge")
    unasked = cli("show", recorded.passed.id, "--finding", "eval.roc_auc")
    assert unasked.code == 2
    assert "was not asked eval.roc_auc" in unasked.err


def test_show_quarantined_rows_with_reasons_and_without_what_is_classified(cli: Cli, recorded: Recorded) -> None:
    document = cli("show", recorded.passed.id, "--quarantine", "visits", "--limit", "1", "--json").json
    assert (document["quarantined"], document["withheld"]) == (2, ["email"])
    assert document["rows"] == [
        {"reasons": ["data.range: pages — below 1"], "values": {"visit_id": 7, "email": "(withheld)"}}
    ]
    ran = cli("show", recorded.passed.id, "--quarantine", "visits")
    assert "a@example.com" not in ran.out
    assert "data.null: email — missing" in ran.out
    missing = cli("show", recorded.passed.id, "--quarantine", "visit")
    assert missing.code == 2
    assert "Valid: visits." in missing.err


def test_show_saves_attachments_and_subjects(cli: Cli, recorded: Recorded, place: Path) -> None:
    saved = cli("show", recorded.passed.id, "--save", "checks.html", "out/page.html")
    assert saved.code == 0
    assert (place / "out/page.html").read_text() == "<h1>Checks</h1>"
    cli("show", recorded.passed.id, "--save", "quarantine/visits", "aside.parquet")
    assert pq.read_table(place / "aside.parquet").num_rows == 2
    unknown = cli("show", recorded.passed.id, "--save", "check.html", "x")
    assert unknown.code == 2
    assert "checks.html" in unknown.err


def test_show_refuses_two_questions_at_once(cli: Cli, recorded: Recorded) -> None:
    ran = cli("show", recorded.passed.id, "--finding", "data.range", "--quarantine", "visits")
    assert ran.code == 2
    assert "one of them at a time" in ran.err


def test_show_of_tampered_bytes_is_an_integrity_error(cli: Cli, recorded: Recorded) -> None:
    file = recorded.work.ports.objects.fetch(recorded.passed.entries[1].attachments[0].digest)
    file.chmod(0o644)
    file.write_text("<h1>All is well</h1>")
    ran = cli("show", recorded.passed.id, "--save", "checks.html", "page.html", "--json")
    assert ran.code == 4
    assert ran.json["error"]["gate"] == "integrity.data"


def test_promote_needs_a_person(cli: Cli, recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ("promote", recorded.passed.id, "--reason", "it is the best", "--project", "project")
    ran = cli(*command)
    assert ran.code == 3
    assert "needs a person's name" in ran.err
    monkeypatch.setenv("TOWPATH_ACTOR", "grace")
    assert cli(*command, "--json").json["by"] == "grace"


def test_promote_needs_a_reason_in_words(cli: Cli, recorded: Recorded) -> None:
    ran = cli("promote", recorded.passed.id, "--reason", "good", "--by", "Ada", "--project", "project")
    assert ran.code == 3
    assert "needs a reason" in ran.err
    missing = cli("promote", recorded.passed.id, "--by", "Ada", "--json")
    assert missing.code == 2
    assert missing.json["error"]["code"] == "usage"


def test_promote_holds_what_has_not_gone_the_whole_path_and_records_it(cli: Cli, recorded: Recorded) -> None:
    ran = cli("promote", recorded.passed.id, "--by", "Ada", "--reason", "let us see", "--project", "project", "--json")
    assert ran.code == 3
    assert ran.json["verdict"] == "HOLD"
    assert "stage train has no entry" in ran.json["reasons"]
    [decision] = cli("ledger", "show", "--kind", "decision", "--json").json
    assert (decision["actor"], decision["body"]["reason"]) == ("Ada", "let us see")
    assert not any(item["champion"] for item in cli("status", "--json").json["candidates"])


def test_promote_rejects_what_a_gate_refused(cli: Cli, recorded: Recorded) -> None:
    ran = cli("promote", recorded.refused.id, "--by", "Ada", "--reason", "let us see", "--project", "project")
    assert ran.code == 3
    assert ran.out.startswith(f"REJECT {recorded.refused.id} by Ada")
    assert "column pages is missing" in ran.out


def test_ledger_verify_names_a_changed_record_and_promote_refuses_the_ledger(
    cli: Cli, recorded: Recorded, place: Path
) -> None:
    good = cli("ledger", "verify", "--json")
    assert (good.code, good.json["whole"], good.json["records"]) == (0, True, 4)
    with closing(sqlite3.connect(place / "state/ledger.db")) as connection, connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute("UPDATE towpath_records SET actor = 'mallory' WHERE sequence = 2")
    bad = cli("ledger", "verify")
    assert bad.code == 4
    assert bad.out.startswith("Forged actor: ")
    assert "ecord 2" in bad.out
    refused = cli(
        "promote", recorded.passed.id, "--by", "Ada", "--reason", "let us see", "--project", "project", "--json"
    )
    assert (refused.code, refused.json["error"]["gate"]) == (4, "integrity.ledger")


def test_ledger_export_verifies_without_the_database(cli: Cli, recorded: Recorded, place: Path) -> None:
    assert cli("ledger", "export", "ledger.jsonl", "--json").json["records"] == 4
    whole = cli("ledger", "verify", "--file", "ledger.jsonl", "--json")
    assert (whole.code, whole.json["head"]) == (0, cli("ledger", "verify", "--json").json["head"])
    lines = (place / "ledger.jsonl").read_text(encoding="utf-8").splitlines()
    (place / "ledger.jsonl").write_text("\n".join([lines[0], *lines[2:]]) + "\n", encoding="utf-8")
    cut = cli("ledger", "verify", "--file", "ledger.jsonl")
    assert cut.code == 4
    assert "Record 2 is missing" in cut.out


def test_ledger_export_refuses_what_cannot_be(cli: Cli, recorded: Recorded, place: Path) -> None:
    assert cli("ledger", "export", "nowhere/ledger.jsonl").code == 2
    assert cli("ledger", "export", "-", "--json").json["error"]["code"] == "bad_input"
    assert cli("ledger", "verify", "--file", "nothing.jsonl").code == 2
    assert not list(place.glob(".exporting-*"))


def test_ledger_show(cli: Cli, recorded: Recorded) -> None:
    everything = cli("ledger", "show", "--json").json
    assert [record["sequence"] for record in everything] == [1, 2, 3, 4]
    assert json.loads(cli("ledger", "show", "3").out) == everything[2]
    assert [record["sequence"] for record in cli("ledger", "show", "--limit", "2", "--json").json] == [3, 4]
    mine = cli("ledger", "show", "--candidate", recorded.refused.id, "--json").json
    assert [record["digest"] for record in mine] == [entry.digest for entry in recorded.refused.entries]
    assert "The last 1 of 4" in cli("ledger", "show", "--limit", "1").out
    assert cli("ledger", "show", "99").code == 2
    assert cli("ledger", "show", "--candidate", "visits-ffffffffffff").code == 2


def test_a_command_that_reads_makes_no_ledger(cli: Cli, place: Path) -> None:
    for command in (("ledger", "verify"), ("ledger", "show"), ("show", "visits-1234abcd"), ("ledger", "export", "x")):
        ran = cli(*command)
        assert ran.code == 2
        assert "There is no ledger" in ran.err
    assert list(place.iterdir()) == []
