"""Local tokens, on SQLite and on PostgreSQL: made, proven, refused, revoked, and tampered with."""

from __future__ import annotations

import hashlib
import threading
from datetime import timedelta

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from access.conftest import ADMIN, NOW, Installation, grant
from towpath.core.errors import BadInput, Denied, NotFound, TowpathError, Unauthenticated
from towpath.core.evidence import RecordKind
from towpath.core.identity import Identity, Kind, Proof, Role
from towpath.ledger.tokens import SqlTokens


def sql(installation: Installation, *statements: str) -> None:
    """Statements at an SQL prompt, of somebody who may do anything to the database."""
    engine = create_engine(installation.url.replace("postgresql://", "postgresql+psycopg://"), poolclass=NullPool)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def unlocked(installation: Installation, *statements: str) -> None:
    """The same, by the database's owner, who takes the triggers away first."""
    if installation.url.startswith("sqlite"):
        names = ("towpath_tokens_update", "towpath_tokens_delete", "towpath_tokens_insert", "towpath_records_delete")
        sql(installation, *(f"DROP TRIGGER IF EXISTS {name}" for name in names), *statements)
    else:
        sql(
            installation,
            "ALTER TABLE towpath_tokens DISABLE TRIGGER ALL",
            "ALTER TABLE towpath_records DISABLE TRIGGER ALL",
            *statements,
        )


def refused(tokens: SqlTokens, given: str, says: str) -> None:
    with pytest.raises(Unauthenticated, match=says) as raised:
        tokens.identify(given)
    assert given not in str(raised.value)
    assert given.rpartition("_")[2] not in repr(raised.value.args)


def test_a_token_proves_who_holds_it(tokens: SqlTokens, admin: Identity) -> None:
    token, given = tokens.create(grant("release-manager@flights", "viewer", account="grace-laptop"), by=admin)
    found = tokens.identify(given)
    assert (found.person, found.account, found.kind, found.proof) == ("grace", "grace-laptop", Kind.PERSON, Proof.TOKEN)
    assert (found.credential, found.issued_by) == (token.token_id, "ada")
    assert found.roles("flights") == {Role.RELEASE_MANAGER, Role.VIEWER}
    assert found.roles("churn") == {Role.VIEWER}
    assert found.via == f"token:{token.token_id} (grace-laptop)"


def test_two_accounts_of_one_person_are_one_actor(tokens: SqlTokens, admin: Identity) -> None:
    _, one = tokens.create(grant("viewer", account="grace"), by=admin)
    _, other = tokens.create(grant("release-manager", account="grace-admin"), by=admin)
    first, second = tokens.identify(one), tokens.identify(other)
    assert first.person == second.person == "grace"
    assert first.via != second.via


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda given: given[:-1] + ("0" if given[-1] != "0" else "1"), "none of this installation's"),
        (lambda given: "tp_000000000000_" + given.rpartition("_")[2], "none of this installation's"),
        (lambda given: given.upper(), "has not the form"),
        (lambda given: given + "\n", "has not the form"),
        (lambda given: given[:40], "has not the form"),
        (lambda given: "tp_" + given.split("_")[1] + "_" + hashlib.sha256(given.encode()).hexdigest(), "none of this"),
        (lambda given: "", "has not the form"),
    ],
)
def test_a_wrong_secret_is_refused(tokens: SqlTokens, admin: Identity, damage: object, says: str) -> None:
    _, given = tokens.create(grant("viewer"), by=admin)
    assert callable(damage)
    wrong = damage(given)
    with pytest.raises(Unauthenticated, match=says):
        tokens.identify(wrong)


def test_the_hash_that_is_stored_is_no_secret(installation: Installation, tokens: SqlTokens, admin: Identity) -> None:
    token, given = tokens.create(grant("viewer"), by=admin)
    with installation.ledger() as ledger:
        written = " ".join(record.model_dump_json() for record in ledger.records())
    secret = given.rpartition("_")[2]
    assert token.token_id in written
    assert secret not in written
    assert hashlib.sha256(secret.encode()).hexdigest() not in written
    refused(tokens, f"tp_{token.token_id}_{hashlib.sha256(secret.encode()).hexdigest()}", "none of this installation's")


def test_an_expired_token_is_refused_also_when_the_clock_is_set_back(
    installation: Installation, tokens: SqlTokens, admin: Identity
) -> None:
    _, given = tokens.create(grant("viewer", days=1), by=admin)
    installation.clock.forward(days=1, seconds=-1)
    tokens.identify(given)
    installation.clock.forward(seconds=1)
    refused(tokens, given, "expired on 2026-03-02")
    tokens.create(grant("viewer", days=3), by=admin)  # the record now knows how late it is
    installation.clock.now = NOW
    refused(tokens, given, "expired on 2026-03-02")


def test_a_revoked_token_is_refused_at_once_and_for_ever(
    installation: Installation, tokens: SqlTokens, admin: Identity
) -> None:
    token, given = tokens.create(grant("viewer"), by=admin)
    first = tokens.revoke(token.token_id, by=admin, reason="it was lost")
    refused(tokens, given, "was revoked")
    installation.clock.forward(hours=1)
    assert tokens.revoke(token.token_id, by=admin, reason="once more") == first
    with installation.ledger() as ledger:
        acts = [record for record in ledger.records(kind=RecordKind.ACCESS) if record.body["act"] == "token-revoke"]
    assert [(record.actor, record.via, record.body["reason"]) for record in acts] == [("ada", admin.via, "it was lost")]
    assert given not in str([record.body for record in acts])


def test_a_revocation_needs_a_reason_and_a_token(tokens: SqlTokens, admin: Identity) -> None:
    token, _ = tokens.create(grant("viewer"), by=admin)
    with pytest.raises(BadInput, match="needs a reason"):
        tokens.revoke(token.token_id, by=admin, reason="lost")
    with pytest.raises(NotFound) as raised:
        tokens.revoke("000000000000", by=admin, reason="it was lost")
    assert token.token_id in raised.value.valid


@pytest.mark.parametrize(
    "wanted",
    [
        grant("viewer", person="ada"),
        grant("platform-admin@flights", person="ada"),
        grant("automation", person="ci", kind=Kind.SERVICE),
    ],
)
def test_the_first_token_must_be_an_admins(tokens: SqlTokens, wanted: object) -> None:
    with pytest.raises(Denied, match="must be a person's with platform-admin in every project"):
        tokens.create(wanted, by=ADMIN)  # type: ignore[arg-type]
    assert not tokens.any()
    tokens.create(wanted, by=admin_by_provider(), provider=True)  # type: ignore[arg-type]
    assert tokens.any()


def admin_by_provider() -> Identity:
    return ADMIN.model_copy(update={"proof": Proof.OIDC})


def test_a_claimed_name_makes_no_second_token(tokens: SqlTokens, admin: Identity) -> None:
    with pytest.raises(Unauthenticated, match="a name is none"):
        tokens.create(grant("platform-admin", person="mallory"), by=ADMIN)
    assert len(tokens.all()) == 1


def test_of_two_first_tokens_made_at_once_one_is(installation: Installation) -> None:
    outcomes: list[str] = []
    ready = threading.Barrier(4)

    def make() -> None:
        with installation.tokens() as opened:
            ready.wait(timeout=30)
            try:
                opened.create(grant("platform-admin", person="ada"), by=ADMIN)
                outcomes.append("made")
            except Unauthenticated:
                outcomes.append("refused")

    with installation.tokens():  # the schema is there
        threads = [threading.Thread(target=make) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
    assert sorted(outcomes) == ["made", "refused", "refused", "refused"]


def test_the_last_admin_stays_unless_a_provider_knows_another(tokens: SqlTokens, admin: Identity) -> None:
    with pytest.raises(Denied, match="last token of a platform admin"):
        tokens.revoke(admin.credential, by=admin, reason="it was lost")
    another, _ = tokens.create(grant("platform-admin", person="ada"), by=admin)
    tokens.revoke(admin.credential, by=admin, reason="rotated to another")
    with pytest.raises(Denied, match="last token"):
        tokens.revoke(another.token_id, by=admin, reason="it was lost")
    assert tokens.revoke(another.token_id, by=admin, reason="it was lost", provider=True).revoked_at is not None


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        (grant("release-manager", person="ci", kind=Kind.SERVICE), "a service cannot be release-manager"),
        (grant(), "without a role"),
        (grant("viewer", person=" "), "person"),
        (grant("viewer", days=-1), "would have expired"),
    ],
)
def test_what_makes_no_sense_is_refused_and_not_recorded(
    installation: Installation, tokens: SqlTokens, admin: Identity, wanted: object, says: str
) -> None:
    with pytest.raises(BadInput, match=says):
        tokens.create(wanted, by=admin)  # type: ignore[arg-type]
    with installation.ledger() as ledger:
        assert len(list(ledger.records())) == 1


def test_making_a_token_is_recorded_and_the_record_is_whole(
    installation: Installation, tokens: SqlTokens, admin: Identity
) -> None:
    token, _ = tokens.create(grant("automation@flights", person="ci", kind=Kind.SERVICE), by=admin)
    with installation.ledger() as ledger:
        assert ledger.verify().whole
        last = ledger.head()
    assert last is not None
    assert (last.kind, last.actor, last.via, last.project) == (RecordKind.ACCESS, "ada", admin.via, "*")
    assert last.body["act"] == "token-create"
    assert (last.body["token"], last.body["grants"]) == (token.token_id, ["automation@flights"])


# --- somebody who may write the database ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM towpath_tokens",
        "UPDATE towpath_tokens SET grants = '[\"platform-admin\"]'",
        "UPDATE towpath_tokens SET expires_at = '2099-01-01T00:00:00.000000Z'",
        "UPDATE towpath_tokens SET secret_sha256 = 'x'",
        "UPDATE towpath_tokens SET revoked_at = NULL",
        "INSERT OR REPLACE INTO towpath_tokens SELECT * FROM towpath_tokens",
        "TRUNCATE towpath_tokens",
    ],
)
def test_the_database_refuses_to_change_a_token(
    installation: Installation, tokens: SqlTokens, admin: Identity, statement: str
) -> None:
    token, _ = tokens.create(grant("viewer"), by=admin)
    tokens.revoke(token.token_id, by=admin, reason="it was lost")
    before = tokens.all()
    with pytest.raises(DBAPIError):
        sql(installation, statement)
    assert tokens.all() == before


MALLORY = "b" * 64  # a secret that mallory knows


@pytest.mark.parametrize(
    "change",
    [
        f"secret_sha256 = '{hashlib.sha256(MALLORY.encode()).hexdigest()}'",
        "grants = '[\"platform-admin\"]'",
        "person = 'ada'",
        "kind = 'service'",
        "issued_by = 'nobody'",
        "expires_at = '2099-01-01T00:00:00.000000Z'",
        "signature = NULL, signer = NULL",
        "signature = 'AAAA'",
    ],
)
def test_a_row_that_was_changed_without_the_key_proves_nothing(
    installation: Installation, tokens: SqlTokens, admin: Identity, change: str
) -> None:
    token, given = tokens.create(grant("viewer"), by=admin)
    unlocked(installation, f"UPDATE towpath_tokens SET {change} WHERE token_id = '{token.token_id}'")
    presented = f"tp_{token.token_id}_{MALLORY}" if "secret" in change else given
    refused(tokens, presented, "its seal is not ours")


def test_a_row_that_was_copied_under_another_id_proves_nothing(
    installation: Installation, tokens: SqlTokens, admin: Identity
) -> None:
    token, given = tokens.create(grant("viewer"), by=admin)
    columns = "secret_sha256, person, account, kind, grants, issued_by, created_at, expires_at, signer, signature"
    unlocked(
        installation,
        f"INSERT INTO towpath_tokens (token_id, {columns}) SELECT 'abcdefabcdef', {columns} FROM towpath_tokens "
        f"WHERE token_id = '{token.token_id}'",
    )
    refused(tokens, f"tp_abcdefabcdef_{given.rpartition('_')[2]}", "its seal is not ours")


def test_a_token_that_somebody_elses_key_sealed_proves_nothing(installation: Installation, tmp_path: object) -> None:
    from pathlib import Path

    from towpath.adapters.keys_local import LocalKeys

    assert isinstance(tmp_path, Path)
    theirs = LocalKeys(tmp_path / "theirs")
    theirs.ensure(at=NOW)
    with installation.tokens(keys=theirs) as forged:
        _, given = forged.create(grant("platform-admin", person="mallory"), by=ADMIN)
    with installation.tokens() as opened:
        refused(opened, given, "its seal is not ours")


def test_a_revocation_outlives_the_row_that_says_so(
    installation: Installation, tokens: SqlTokens, admin: Identity
) -> None:
    token, given = tokens.create(grant("viewer"), by=admin)
    tokens.revoke(token.token_id, by=admin, reason="it was lost")
    unlocked(installation, "UPDATE towpath_tokens SET revoked_at = NULL")
    refused(tokens, given, "was revoked")


def test_a_revocation_outlives_the_record_that_says_so(
    installation: Installation, tokens: SqlTokens, admin: Identity
) -> None:
    token, given = tokens.create(grant("viewer"), by=admin)
    tokens.revoke(token.token_id, by=admin, reason="it was lost")
    unlocked(installation, "DELETE FROM towpath_records WHERE sequence = 3")
    refused(tokens, given, "was revoked")


def test_what_a_key_sealed_before_it_was_revoked_holds_and_nothing_later(
    installation: Installation, tokens: SqlTokens, admin: Identity
) -> None:
    from towpath.ports import Purpose

    _, before = tokens.create(grant("viewer"), by=admin)
    with installation.ledger() as ledger:
        head = ledger.head()
    assert head is not None
    _, after = tokens.create(grant("viewer"), by=admin)
    old = installation.keys.key_id(Purpose.LEDGER)
    assert old is not None
    installation.keys.rotate(Purpose.LEDGER, at=NOW)
    installation.keys.revoke(old, at=NOW, after=head.sequence, reason="it was copied")
    assert tokens.identify(before).person == "grace"
    refused(tokens, after, "its seal is not ours")


def test_nothing_that_is_given_as_a_token_is_a_fault(tokens: SqlTokens, admin: Identity) -> None:
    for given in ("tp_", "tp__", "\x00", "tp_" + "é" * 12 + "_" + "0" * 64, "a" * 100_000, "tp_0_0", "💥"):
        with pytest.raises(TowpathError) as raised:
            tokens.identify(given)
        assert raised.value.code == "unauthenticated"


def test_expiry_is_what_was_asked_for(tokens: SqlTokens, admin: Identity) -> None:
    token, _ = tokens.create(grant("viewer", days=2), by=admin)
    assert token.expires_at - token.created_at == timedelta(days=2)
