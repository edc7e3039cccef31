"""An installation that an OpenID provider closes, over the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from access.conftest import NOW, Installation, grant
from cli.conftest import Cli
from rollout import house
from servers.oidc import OidcServer
from towpath import wiring
from towpath.adapters.oidc_grants import GrantsFile
from towpath.adapters.oidc_keys import ProviderKeys
from towpath.adapters.oidc_tokens import OidcTokens
from towpath.cli import opening
from towpath.core.errors import Denied, Unauthenticated
from towpath.core.evidence import RecordKind
from towpath.core.identity import Identity, Kind, Proof
from towpath.stages.access import Doors, identify

PROJECT = house.PROJECT
ORDER = ("rollout", "pause", PROJECT, "--reason", "a test wants it", "--json")
GRANTS = {
    "groups": {"map": {"mlops-release": [f"release-manager@{PROJECT}"], "platform": ["platform-admin"]}},
    "services": {"clients": {"nightly-run": [f"automation@{PROJECT}"]}},
}


@pytest.fixture
def provided(place: Path, oidc_server: OidcServer, monkeypatch: pytest.MonkeyPatch) -> OidcServer:
    """A place with a champion, where the provider says who acts."""
    with closing(wiring.open_ledger(opening.settings())) as ledger:
        house.crowned(ledger, house.registered(ledger, 1))
    (place / "grants.json").write_text(json.dumps(GRANTS), encoding="utf-8")
    monkeypatch.setenv("TOWPATH_OIDC_ISSUER", oidc_server.issuer)
    monkeypatch.setenv("TOWPATH_OIDC_PERSON", "employee")
    monkeypatch.setenv("TOWPATH_OIDC_GRANTS", "grants.json")
    return oidc_server


def test_naming_a_provider_closes_the_installation(provided: OidcServer, cli: Cli) -> None:
    ran = cli(*ORDER, "--by", "ada")
    assert (ran.code, ran.json["error"]["code"]) == (3, "unauthenticated")
    ran = cli("token", "create", "--person", "ada", "--role", "platform-admin", "--by", "ada", "--json")
    assert (ran.code, ran.json["error"]["code"]) == (3, "unauthenticated")
    assert cli("status", "--json").code == 0


def test_a_group_gives_the_right_and_its_lack_is_recorded(
    provided: OidcServer, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOWPATH_TOKEN", provided.login("u-1"))
    assert cli(*ORDER).json["error"]["code"] == "not_found"  # it may, and there is no rollout
    for token, person, via in (
        (provided.login("u-3"), "grace", "oidc:u-3"),
        (provided.machine("nightly-run"), "nightly-run", "oidc:nightly-run"),
    ):
        monkeypatch.setenv("TOWPATH_TOKEN", token)
        ran = cli(*ORDER)
        assert (ran.code, ran.json["error"]["code"]) == (3, "forbidden")
        with closing(wiring.open_ledger(opening.settings())) as ledger:
            last = ledger.head()
        assert last is not None
        assert (last.kind, last.actor, last.via, last.project) == (RecordKind.ACCESS, person, via, PROJECT)


def test_an_admin_of_the_provider_makes_tokens_of_any_kind(
    provided: OidcServer, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOWPATH_TOKEN", provided.login("u-2"))
    made = cli("token", "create", "--person", "ci", "--service", "--role", "automation", "--json").json
    assert (made["issued_by"], made["kind"]) == ("ada", "service")
    monkeypatch.setenv("TOWPATH_TOKEN", made["token"])
    assert cli("whoami", "--json").json["person"] == "ci"
    monkeypatch.setenv("TOWPATH_TOKEN", provided.login("u-2"))
    assert cli("token", "revoke", made["id"], "--reason", "not needed any more", "--json").code == 0


@pytest.mark.parametrize("client", ["wiki", "towpath"])
def test_a_token_for_something_else_is_refused(
    provided: OidcServer, cli: Cli, monkeypatch: pytest.MonkeyPatch, client: str
) -> None:
    monkeypatch.setenv("TOWPATH_OIDC_AUDIENCE", "towpath" if client == "wiki" else "wiki")
    token = provided.login("u-2", client=client)
    monkeypatch.setenv("TOWPATH_TOKEN", token)
    ran = cli(*ORDER)
    assert (ran.code, ran.json["error"]["code"]) == (3, "unauthenticated")
    assert "another audience" in ran.json["error"]["message"]
    assert token not in ran.out + ran.err


def test_a_provider_that_is_down_is_worth_trying_again(
    place: Path, mortal_oidc: Callable[[], OidcServer], cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = mortal_oidc()
    monkeypatch.setenv("TOWPATH_OIDC_ISSUER", server.issuer)
    monkeypatch.setenv("TOWPATH_TOKEN", server.login("u-1"))
    assert cli("whoami", "--json").json["person"] == "u-1"
    server.stop()
    ran = cli("whoami", "--json")
    assert (ran.code, ran.json["error"]["temporary"]) == (5, True)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("TOWPATH_OIDC_ISSUER", "http://login.example.org", "safe to ask"),
        ("TOWPATH_OIDC_GRANTS", "no.json", "cannot be read"),
    ],
)
def test_a_provider_that_cannot_be_meant_is_refused(
    provided: OidcServer, cli: Cli, monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setenv(name, value)
    monkeypatch.setenv("TOWPATH_TOKEN", "e30.e30.e30")
    ran = cli(*ORDER)
    assert ran.code == 2
    assert says in ran.json["error"]["message"]


def test_a_clock_that_is_set_back_revives_no_token_of_the_provider(
    installation: Installation, oidc_server: OidcServer, admin: Identity
) -> None:
    installation.clock.now = datetime.now(UTC)
    keys = ProviderKeys(oidc_server.issuer)
    provider = OidcTokens(keys, issuer=oidc_server.issuer, audience="towpath", person="employee", grants=GrantsFile())
    token = oidc_server.login("u-1")
    with installation.tokens() as tokens:
        doors = Doors(tokens=tokens, provider=provider)
        now = installation.clock.now
        found = identify(doors, token, now=now)
        assert (found.person, found.kind, found.proof) == ("ada", Kind.PERSON, Proof.OIDC)
        installation.clock.forward(hours=2)
        tokens.create(grant("viewer", days=365), by=admin)  # the record now knows how late it is
        with pytest.raises(Unauthenticated, match="expired"):
            identify(doors, token, now=now)


def test_whoever_serves_others_believes_no_name() -> None:
    with pytest.raises(Unauthenticated):
        identify(Doors(tokens=None, server=True), None, claim="ada", now=NOW)
    with pytest.raises(Denied, match="needs a person's name"):
        identify(Doors(tokens=None), None, claim=" ", now=NOW)
    assert identify(Doors(tokens=None), None, claim=" ada ", now=NOW).person == "ada"
