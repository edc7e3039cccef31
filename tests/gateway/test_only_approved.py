"""A model that is tampered with, unverified or unapproved is never loaded, whatever the registry's aliases say."""

from __future__ import annotations

import shutil
import sqlite3
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gateway import served
from gateway.served import PROJECT, Built, House
from path import small
from towpath import wiring
from towpath.core import names
from towpath.core.errors import Denied, IntegrityError
from towpath.core.evidence import RecordKind
from towpath.core.rollout import Phase, Rollout
from towpath.project import load
from towpath.stages import serving
from towpath.stages.serving import Head, Refused, approved, report, servable

CHALLENGED = 10_000


@pytest.fixture(scope="module")
def flight(built: Built) -> dict[str, Any]:
    return next(row for row in served.rows(built, 20) if row["tailnum"])


def _servable(house: House, rollout: Rollout | None = None) -> Any:
    return servable(house.ledger, rollout, PROJECT, head=Head())


def test_an_alias_moved_by_hand_changes_nothing(house: House, built: Built, flight: dict[str, Any]) -> None:
    """The registry says version 2 is the champion; the ledger says version 1, and is right."""
    models = wiring.open_models(small.settings(built.state))
    try:
        models.promote(PROJECT, "2", alias=names.ALIAS_CHAMPION, tags={})
        with served.serving(house) as gateway:
            assert gateway.infer([flight]).headers["x-towpath-version"] == "1"
    finally:
        models.promote(PROJECT, "1", alias=names.ALIAS_CHAMPION, tags={})


def test_the_champion_is_what_the_ledger_says(house: House, built: Built) -> None:
    found = _servable(house)
    assert found.champion.digest == built.champion.digest
    assert found.champion.model == built.champion.entry("train").subject("model").digest


def test_nothing_is_served_from_a_ledger_that_was_changed(house: House) -> None:
    house.ledger.close()
    with sqlite3.connect(house.state / "ledger.db") as database:
        for (name,) in database.execute("select name from sqlite_master where type = 'trigger'").fetchall():
            database.execute(f'drop trigger "{name}"')
        changed = database.execute("update towpath_records set actor = 'mallory' where sequence = 3").rowcount
    assert changed == 1
    house.ledger = wiring.open_ledger(house.settings)
    with pytest.raises(IntegrityError, match="record 3"):
        _servable(house)
    with served.serving(house, wait=False) as gateway:
        reply = gateway.get("/readyz")
        assert reply.status == 503


def test_a_challenger_that_was_refused_is_not_loaded(house: House, built: Built, flight: dict[str, Any]) -> None:
    """The rollout's row was forged: it names a candidate that only got as far as its training."""
    policy = load(house.project).charter.rollout
    assert policy is not None
    rollout = served.started(policy, built.champion, built.challenger, datetime.now(UTC))
    half = built.challenger.entry("train")
    forged = rollout.model_copy(
        update={
            "phase": Phase.PROGRESSING,
            "weight": CHALLENGED,
            "challenger": rollout.challenger.model_copy(update={"digest": half.digest}),
        }
    )
    found = _servable(house, forged)
    assert found.challenger is None
    assert isinstance(found.refused[0].error, Denied)
    house.rollout(weight=CHALLENGED, challenger=forged.challenger)
    with served.serving(house) as gateway:
        gateway.until(lambda: "x-towpath-fallback" in gateway.infer([flight]).headers)
        reply = gateway.infer([flight])
        assert (reply.headers["x-towpath-arm"], reply.headers["x-towpath-fallback"]) == ("challenger", "champion")
        assert reply.headers["x-towpath-version"] == "1"
        gateway.until(lambda: bool(_incidents(house)))
    assert _incidents(house) == ["serve.approved"]


def test_a_rollout_that_names_another_model_than_its_candidate_is_refused(house: House, built: Built) -> None:
    policy = load(house.project).charter.rollout
    assert policy is not None
    rollout = served.started(policy, built.champion, built.challenger, datetime.now(UTC))
    other = rollout.challenger.model_copy(update={"model": rollout.champion.model})
    found = _servable(house, rollout.model_copy(update={"challenger": other}))
    assert found.challenger is None
    assert isinstance(found.refused[0].error, Denied)


@pytest.mark.parametrize("who", ["champion", "challenger"])
def test_a_contender_of_other_classes_takes_no_part(
    house: House, built: Built, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    """`towpath rollout start` refuses it; a champion of another task may have been crowned since."""
    rollout = house.rollout(weight=CHALLENGED)
    odd = getattr(built, who).digest
    monkeypatch.setattr(
        serving, "approved", lambda one: replace(approved(one), classes=("a", "b") if one.digest == odd else ())
    )
    found = _servable(house, rollout)
    refused = [str(one.error) for one in found.refused]
    assert found.champion.digest == built.champion.digest
    assert found.challenger is None
    if who == "champion":  # the ledger's, and so the rollout's own; the challenger is unlike both
        assert (found.incumbent.digest, found.rollout) == (built.champion.digest, rollout)
        assert "answers with one number, and the champion" in refused[0]
    else:
        assert "answers with a probability for each of a, b, and the champion" in refused[0]
    assert len(refused) == 1


def test_a_rollout_takes_no_part_beside_a_champion_of_another_task(
    house: House, built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A regression answers with one number too, and it is no probability."""
    rollout = house.rollout(weight=CHALLENGED)
    odd = built.champion.digest
    monkeypatch.setattr(
        serving,
        "approved",
        lambda one: replace(approved(one), task="regression" if one.digest == odd else "binary"),
    )
    found = _servable(house, rollout)
    assert found.challenger is None
    (refused,) = found.refused
    assert "answers with one number, and the champion" in str(refused.error)
    assert "with the number of a regression." in str(refused.error)


def test_tampered_bytes_are_never_loaded(house: House, built: Built, flight: dict[str, Any]) -> None:
    """Every byte of the challenger's model is there, and one is another."""
    with _tampered(house, built):
        house.rollout(weight=CHALLENGED)
        with served.serving(house) as gateway:
            gateway.until(lambda: bool(_incidents(house)))
            reply = gateway.infer([flight])
            assert (reply.status, reply.headers["x-towpath-version"]) == (200, "1")
            assert reply.headers["x-towpath-fallback"] == "champion"
            time.sleep(1)
            gateway.stop()
        assert _incidents(house) == ["integrity.model"]
        assert {(row["arm"], row["fallback"], row["error"]) for row in gateway.logged()} == {
            ("challenger", "champion", "unavailable")
        }


def test_an_incident_is_written_once_by_all_replicas_together(house: House, built: Built) -> None:
    refused = Refused(candidate=built.challenger.id, error=IntegrityError("It changed.", gate="integrity.model"))
    first = report(house.ledger, PROJECT, refused, actor="one")
    second = report(house.ledger, PROJECT, refused, actor="two")
    assert first == second
    assert len(_incidents(house)) == 1


def _incidents(house: House) -> list[str]:
    found = house.ledger.records(kind=RecordKind.INCIDENT)
    return [finding["code"] for record in found for finding in record.body["findings"]]  # type: ignore[union-attr, index, call-overload]


class _tampered:  # noqa: N801 - reads as what it does
    """One byte of the challenger's stored model is changed while the block runs: compiled, or as it was saved."""

    def __init__(self, house: House, built: Built) -> None:
        found = approved(built.challenger)
        if found.runtime is not None:
            self.file = wiring.open_objects(house.settings).fetch(found.runtime.digest)
        else:
            self.file = next((built.state / "artifacts").rglob(f"{found.run.model_id}/**/model.skops"))
        self.before: Path | None = None

    def __enter__(self) -> None:
        self.before = self.file.with_suffix(".before")
        shutil.copy2(self.file, self.before)
        data = bytearray(self.file.read_bytes())
        data[len(data) // 2] ^= 1
        self.file.chmod(0o644)
        self.file.write_bytes(bytes(data))

    def __exit__(self, *_: object) -> None:
        assert self.before is not None
        self.before.replace(self.file)
