"""A backup proves itself before it is put back, into the other kind of database too."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.drafts import START, decision, fill, ticking
from towpath.adapters.keys_local import LocalKeys
from towpath.core.errors import BadInput, Denied, IntegrityError
from towpath.ledger import backup as backups
from towpath.ledger.sql import SqlLedger


@pytest.fixture
def keys(tmp_path: Path) -> LocalKeys:
    made = LocalKeys(tmp_path / "keys")
    made.ensure(at=START)
    return made


@pytest.fixture
def ledger(url: str, keys: LocalKeys) -> Iterator[SqlLedger]:
    with SqlLedger.open(url, clock=ticking(), keys=keys, via="token:1 (ada)") as opened:
        fill(opened, 7)
        yield opened


@pytest.fixture
def target(url: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """A database of the other kind."""
    if url.startswith("postgresql"):
        return f"sqlite:///{tmp_path / 'restored.db'}"
    database: str = request.getfixturevalue("postgres_database")
    return database


def test_a_backup_restored_into_the_other_kind_is_the_same_ledger(
    ledger: SqlLedger, url: str, target: str, keys: LocalKeys, tmp_path: Path
) -> None:
    file = tmp_path / "backup.zip"
    written = backups.backup(url, file, keys=keys)
    assert (written.checkpoint.size, written.rows["records"]) == (7, 7)
    assert backups.restore(file, target, keys=keys).checkpoint == written.checkpoint
    with SqlLedger.open(target, clock=ticking(), keys=keys) as restored:
        assert list(restored.records()) == list(ledger.records())
        assert restored.verify() == ledger.verify()
        restored.append(decision("behind"), actor="ada")
        assert restored.verify().whole
        with pytest.raises(Denied, match="is not empty"):
            backups.restore(file, target, keys=keys)
        assert restored.verify().records == 8


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_a_backup_is_as_it_was_written_or_refused(ledger: SqlLedger, url: str, keys: LocalKeys, tmp_path: Path) -> None:
    file, target = tmp_path / "backup.zip", tmp_path / "restored.db"
    backups.backup(url, file, keys=keys)
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for name in members:
        changed = tmp_path / "changed.zip"
        with zipfile.ZipFile(changed, "w") as archive:
            for other, value in members.items():
                archive.writestr(other, value if other != name else value[:-2] + b"x\n")
        with pytest.raises((IntegrityError, BadInput)):
            backups.restore(changed, f"sqlite:///{target}", keys=keys)
        with zipfile.ZipFile(changed, "w") as archive:
            for other, value in members.items():
                if other != name:
                    archive.writestr(other, value)
        with pytest.raises((IntegrityError, BadInput)):
            backups.restore(changed, f"sqlite:///{target}", keys=keys)
    cut = tmp_path / "cut.zip"
    cut.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(BadInput, match="no backup"):
        backups.restore(cut, f"sqlite:///{target}", keys=keys)
    others = LocalKeys(tmp_path / "others")
    others.ensure(at=START)
    with pytest.raises(IntegrityError, match="not signed by a trusted key"):
        backups.restore(file, f"sqlite:///{target}", keys=others)
    backups.restore(file, f"sqlite:///{target}", keys=keys)


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_a_bad_chain_is_not_backed_up(ledger: SqlLedger, url: str, keys: LocalKeys, tmp_path: Path) -> None:
    with ledger._database.writing() as connection:
        connection.exec_driver_sql("DROP TRIGGER towpath_records_update")
        connection.exec_driver_sql("UPDATE towpath_records SET actor = 'eve' WHERE sequence = 3")
    with pytest.raises(IntegrityError, match="forged actor"):
        backups.backup(url, tmp_path / "backup.zip", keys=keys)
    assert not (tmp_path / "backup.zip").exists()
