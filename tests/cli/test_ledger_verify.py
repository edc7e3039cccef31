"""An auditor's commands: checkpoints that are kept, exports that are verified with nothing but public keys, backups."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from pathlib import Path

import pytest

from towpath import wiring
from towpath.cli import run
from towpath.core import digest as digests
from towpath.core.evidence import RecordKind
from towpath.ports import Draft
from towpath.settings import Settings


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOWPATH_ACTOR", "ada")
    found = Settings.read({}, folder=tmp_path)
    _append(found, 3)
    return found


def _append(settings: Settings, count: int) -> None:
    with closing(wiring.open_ledger(settings)) as ledger:
        for number in range(count):
            head = ledger.head()
            body = {"verdict": "HOLD", "n": number, "behind": head.hash if head else None}
            ledger.append(
                Draft(
                    kind=RecordKind.DECISION,
                    project="delays",
                    candidate="delays-1",
                    stage="promote",
                    key=None,
                    digest=digests.of_json(body),
                    body=body,
                ),
                actor="ada",
            )


def _run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, object]]:
    code = run([*arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def _auditor(settings: Settings, tmp_path: Path) -> Path:
    """A folder of public keys alone."""
    folder = tmp_path / "auditor"
    shutil.copytree(settings.keys / "trusted", folder / "trusted")
    return folder


def test_an_auditor_verifies_an_export_with_public_keys_alone(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["ledger", "checkpoint", "--out", "june.txt"]) == 0
    _append(settings, 2)
    assert run(["ledger", "export", "ledger.jsonl"]) == 0
    keys = _auditor(settings, tmp_path)
    shutil.rmtree(settings.state)
    capsys.readouterr()
    given = ["--file", "ledger.jsonl", "--keys", str(keys)]
    code, found = _run(capsys, "ledger", "verify", *given, "--checkpoint", "june.txt")
    assert (code, found["whole"], found["records"], found["signed"]) == (0, True, 5, 5)
    lines = Path("ledger.jsonl").read_text().splitlines(keepends=True)
    Path("ledger.jsonl").write_text("".join(lines[:2]))
    code, found = _run(capsys, "ledger", "verify", *given, "--checkpoint", "june.txt")
    assert (code, found["verdict"]) == (4, {"record": 3, "kind": "truncated", "what": found["faults"][0]["what"]})  # type: ignore[index]
    assert not settings.state.exists()


def test_without_a_trusted_key_nothing_passes(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["ledger", "export", "ledger.jsonl"]) == 0
    capsys.readouterr()
    code, found = _run(capsys, "ledger", "verify", "--file", "ledger.jsonl", "--keys", str(tmp_path / "none"))
    assert code == 4
    assert found["verdict"]["kind"] == "forged"  # type: ignore[index]


def test_a_ledger_that_was_removed_is_missed(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    for file in settings.state.glob("ledger.db*"):
        file.unlink()
    wiring.open_ledger(settings).close()
    assert run(["ledger", "verify"]) == 4
    assert "Truncated: Records 1 to 3 were cut off the end" in capsys.readouterr().out


def test_a_backup_is_restored_and_a_late_one_only_with_a_reason(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["ledger", "backup", "early.zip"]) == 0
    _append(settings, 1)
    assert run(["ledger", "restore", "early.zip", "--into", "sqlite:///other.db"]) == 0
    for file in settings.state.glob("ledger.db*"):
        file.unlink()
    again = ["ledger", "restore", "early.zip", "--into", settings.ledger]
    capsys.readouterr()
    assert run(again) == 3
    assert "knows 4 records" in " ".join(capsys.readouterr().err.split())
    assert run([*again, "--accept-loss", "the disk died"]) == 0
    assert run(["ledger", "verify"]) == 0
    assert [file.suffix for file in sorted((settings.keys / "checkpoints").iterdir())] == [".1"]
