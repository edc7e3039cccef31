"""`towpath key` and `towpath model`: what they say, what they write down, and what they end with."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from access.conftest import grant
from supply.house import House
from supply.payloads import pickled
from supply.watch import Watch
from towpath import wiring
from towpath.cli import opening
from towpath.cli import run as towpath
from towpath.core.errors import BadInput, Denied, IntegrityError, NotFound
from towpath.core.evidence import RecordKind
from towpath.core.identity import claimed
from towpath.ports import Purpose
from towpath.stages import keys as keyring
from towpath.stages.attested import require_attested

Call = Callable[..., tuple[int, Any]]


@pytest.fixture
def call(house: House, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Runs a command over the house's state; its exit code, and what it wrote as JSON."""
    monkeypatch.setenv("TOWPATH_STATE", str(house.state))
    monkeypatch.setenv("TOWPATH_ACTOR", "Ada Lovelace")
    monkeypatch.setattr(wiring, "open_models", lambda _: house.world.models)

    def run(*arguments: str) -> tuple[int, Any]:
        capsys.readouterr()
        code = towpath([*arguments, "--json"])
        return code, json.loads(capsys.readouterr().out)

    return run


def test_a_key_is_rotated_and_revoked_and_the_model_attested_anew(house: House, call: Call) -> None:
    old = str(house.keys.key_id(Purpose.MODEL))
    code, listed = call("key", "list")
    assert code == 0
    assert [row["key_id"] for row in listed if row["signs"] and row["purpose"] == "model"] == [old]

    code, refused = call("key", "revoke", old, "--reason", "a stolen laptop")
    assert code == 2
    assert "key rotate model" in refused["error"]["hint"]

    code, made = call("key", "rotate", "model")
    assert code == 0
    assert require_attested(house.world.ledger, house.keys, house.candidate).key_id == old

    code, revoked = call("key", "revoke", old[:8], "--reason", "a stolen laptop")
    assert code == 0
    assert revoked["reason"] == "a stolen laptop"
    with pytest.raises(IntegrityError, match="was revoked"):
        house.load()
    assert call("model", "verify", house.candidate.id)[0] == 4

    code, attested = call("model", "attest", house.candidate.id)
    assert (code, attested["key"]) == (0, made["key_id"])
    assert call("model", "verify", house.candidate.id)[0] == 0
    written = [record for record in house.world.ledger.records(kind=RecordKind.ACCESS) if "key" in record.body]
    assert [(record.body["key"], record.actor) for record in written] == [
        ("rotate", "Ada Lovelace"),
        ("revoke", "Ada Lovelace"),
    ]
    assert house.world.ledger.verify().whole


def test_a_platform_admin_of_the_project_attests_and_nobody_else(
    house: House, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, tokens = house.candidate.project, {}
    may, may_not = (
        ("platform-admin", f"platform-admin@{project}"),
        ("platform-admin@other", f"release-manager@{project}"),
    )
    by = claimed("katherine")
    with closing(wiring.open_tokens(opening.settings())) as opened:
        for role in (*may, *may_not):
            person = role.replace("@", "-of-")
            tokens[role] = opened.create(grant(role, person=person, days=3650), by=by)[1]
            by = opened.identify(tokens["platform-admin"])
    for role, text in tokens.items():
        monkeypatch.setenv("TOWPATH_TOKEN", text)
        code, said = call("model", "attest", house.candidate.id)
        if role in may:
            assert (code, said["candidate"]) == (0, house.candidate.id), said
            continue
        assert (code, said["error"]["code"], said["error"]["valid"]) == (3, "forbidden", ["platform-admin"])
        (record,) = [
            one for one in house.world.ledger.records(kind=RecordKind.ACCESS) if one.actor == role.replace("@", "-of-")
        ]
        assert (record.body["refused"], record.project) == ("model-attest", project)
    monkeypatch.setenv("TOWPATH_TOKEN", tokens[f"platform-admin@{project}"])
    assert call("key", "rotate", "model")[1]["error"]["code"] == "forbidden", "that is of every project"


def test_the_ledgers_key_is_rotated_and_revoked_too(house: House, call: Call) -> None:
    old = str(house.keys.key_id(Purpose.LEDGER))
    assert call("key", "rotate", "ledger")[0] == 0
    assert call("key", "revoke", old, "--reason", "a stolen laptop")[0] == 0
    assert house.world.ledger.verify().whole


def test_verify_names_the_file_that_changed(house: House, call: Call) -> None:
    (house.saved() / "requirements.txt").write_text("evil==1\n", encoding="utf-8")
    code, shown = call("model", "verify", house.candidate.id)
    assert code == 4
    assert shown["error"]


def test_check_ends_with_3_for_a_folder_that_is_refused(house: House, call: Call, watch: Watch, tmp_path: Path) -> None:
    assert call("model", "check", str(house.saved()))[0] == 0
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "notes.txt").write_bytes(pickled(watch.canary, protocol=0))
    with watch.nothing_loaded():
        code, findings = call("model", "check", str(bad))
    assert code == 3
    assert [finding["code"] for finding in findings] == ["register.format", "register.scan"]
    assert call("model", "check", str(tmp_path / "nothing"))[0] == 2


def test_revocations_need_a_reason_a_key_and_one_that_is_not_revoked(house: House) -> None:
    keys, ledger = house.keys, house.world.ledger
    key = keyring.named(keys, str(keys.key_id(Purpose.MODEL)))
    at = wiring.now()
    with pytest.raises(Denied, match="reason"):
        keyring.revoke(keys, ledger, key, actor="ada", at=at, reason="stolen")
    with pytest.raises(BadInput, match="signs now"):
        keyring.revoke(keys, ledger, key, actor="ada", at=at, reason="it was stolen")
    with pytest.raises(NotFound, match="names no key"):
        keyring.named(keys, key.key_id[:7])
    keyring.rotate(keys, ledger, Purpose.MODEL, actor="ada", at=at)
    keyring.revoke(keys, ledger, key, actor="ada", at=at, reason="it was stolen")
    with pytest.raises(BadInput, match="was revoked"):
        keyring.revoke(keys, ledger, key, actor="ada", at=at, reason="it was stolen")


def test_the_payload_is_seen_by_the_test_itself(tmp_path: Path) -> None:
    """The corpus' payload does what it is said to do, so that its absence means something."""
    import pickle

    canary = tmp_path / "canary"
    pickle.load(io.BytesIO(pickled(canary)))
    assert canary.exists()
