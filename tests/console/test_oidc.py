"""The API where an OpenID provider says who acts: who logged in acts, every other token is refused and written down."""

from __future__ import annotations

import hashlib
import hmac
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from access.test_oidc import _text, parts, put
from cli.conftest import Cli
from console.conftest import PROJECT, Reply, Server, Town, served
from servers.oidc import OidcServer
from towpath.adapters.oidc_keys import SPACING
from towpath.adapters.oidc_tokens import LEEWAY
from towpath.cli import remote
from towpath.core.evidence import Record, RecordKind

GRANTS = {
    "groups": {"map": {"mlops-release": [f"release-manager@{PROJECT}"], "platform": ["platform-admin"]}},
    "services": {"clients": {"nightly-run": ["automation"]}},
}
REFUSED = 'towpath_api_refused_total{reason="unauthenticated"}'
WHY = {"reason": "better on every carrier"}


def provided(town: Town, folder: Path, provider: OidcServer) -> Town:
    """A copy of the installation, whose people are the provider's."""
    shutil.copytree(town.folder, folder)
    (folder / "grants.json").write_text(json.dumps(GRANTS), encoding="utf-8")
    named = {"ISSUER": provider.issuer, "PERSON": "employee", "AUDIENCE": "towpath", "GRANTS": "grants.json"}
    more = {f"TOWPATH_OIDC_{key}": text for key, text in named.items()}
    return replace(town, folder=folder, environment={**town.environment, **more})


@pytest.fixture(scope="module")
def mine(town: Town, oidc_server: OidcServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("oidc")
    with served(provided(town, folder / "town", oidc_server), folder / "server.log") as server:
        yield server


def ask(server: Server, token: str, verb: str = "whoami", body: Any = None, **headers: str) -> Reply:
    """One request with a token: `whoami`, or an order to a candidate."""
    path = f"/v1/candidates/{server.town.candidate}/{verb}" if verb in ("approve", "withdraw") else f"/v1/{verb}"
    given = {"Authorization": f"Bearer {token}", **headers}
    return server.ask("GET" if body is None else "POST", path, body, headers=given)


def written(server: Server, kind: RecordKind) -> list[Record]:
    return [record for record in server.town.records() if record.kind is kind]


def logged(server: Server, reply: Reply) -> dict[str, Any]:
    """The line of the log about one request, which is written behind its answer."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        lines = [line.partition(" towpath.console.access ")[2] for line in server.log.read_text().splitlines()]
        mine = [line for line in lines if reply.headers["x-request-id"] in line and line.endswith("}")]
        if mine:
            (line,) = mine
            return dict(json.loads(line))
        time.sleep(0.02)
    pytest.fail(f"the log has no line of {reply.headers['x-request-id']}")


def refused(server: Server, token: str, says: str) -> None:
    """Nothing is done with it; the answer, the log and the metrics say so, the ledger stays, and nobody tells it."""
    ledger, counted = len(server.town.records()), _unauthenticated(server)
    for found in (ask(server, token), ask(server, token, "approve", WHY)):
        assert (found.status, found.code) == (401, "unauthenticated"), found.text
        assert found.headers["content-type"] == "application/problem+json"
        assert found.headers["www-authenticate"] == 'Bearer realm="towpath", error="invalid_token"'
        assert says in found.json["detail"]
        line = logged(server, found)
        assert (line["status"], line["refused"], line["why"]) == (401, "unauthenticated", found.json["detail"])
        assert (line["person"], line["address"]) == (None, "127.0.0.1")
        for part in filter(None, token.split(".")[1:]):
            assert part not in found.text + json.dumps(line)
    assert _unauthenticated(server) == counted + 2
    assert len(server.town.records()) == ledger, "who is nobody writes nothing into the record"


def _unauthenticated(server: Server) -> float:
    lines = server.ask("GET", "/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(REFUSED))


# --- who acts ---------------------------------------------------------------------------------------------------------


def test_a_person_acts_by_the_roles_of_their_groups(mine: Server, oidc_server: OidcServer) -> None:
    ada = oidc_server.login("u-1")
    said = ask(mine, ada).json
    assert (said["person"], said["kind"], said["proof"], said["via"]) == ("ada", "person", "oidc", "oidc:u-1")
    done = ask(mine, ada, "approve", WHY)
    assert (done.status, done.json["act"]) == (200, "approve"), done.text
    last = written(mine, RecordKind.APPROVAL)[-1]
    assert (last.actor, last.via) == ("ada", "oidc:u-1")
    assert logged(mine, done)["via"] == "oidc:u-1"
    # The same person by another account, of another group: still one voice.
    other = ask(mine, oidc_server.login("u-2"), "withdraw", WHY)
    assert (other.status, other.json["act"]) == (200, "withdraw"), other.text
    last = written(mine, RecordKind.APPROVAL)[-1]
    assert (last.actor, last.via) == ("ada", "oidc:u-2 (ada-admin)")


def test_a_service_acts_by_its_own_credentials(mine: Server, oidc_server: OidcServer) -> None:
    robot = oidc_server.machine("nightly-run")
    said = ask(mine, robot).json
    assert (said["person"], said["kind"]) == ("nightly-run", "service")
    done = ask(mine, robot, "ledger/checkpoint", {})
    assert done.status == 200, done.text
    assert logged(mine, done)["person"] == "nightly-run"
    found = ask(mine, robot, "approve", WHY)
    assert (found.status, found.code) == (403, "forbidden")
    (one,) = [record for record in written(mine, RecordKind.ACCESS) if record.actor == "nightly-run"]
    assert (one.via, one.body["refused"]) == ("oidc:nightly-run", "approve")


@pytest.mark.parametrize(("subject", "person"), [("u-3", "grace"), ("u-4", "mallory")])
def test_who_has_no_role_is_refused_and_recorded(
    mine: Server, oidc_server: OidcServer, subject: str, person: str
) -> None:
    found = ask(mine, oidc_server.login(subject), "approve", WHY)
    assert (found.status, found.code) == (403, "forbidden")
    assert found.headers["content-type"] == "application/problem+json"
    (one,) = [record for record in written(mine, RecordKind.ACCESS) if record.actor == person]  # once an hour
    assert (one.via, one.project, one.body["refused"]) == (f"oidc:{subject}", PROJECT, "read"), "not even that"
    line = logged(mine, found)
    assert (line["refused"], line["person"]) == ("forbidden", person)


def test_the_token_and_no_name_says_who_acts(mine: Server, oidc_server: OidcServer) -> None:
    named = {"Towpath-Actor": "grace"}
    assert ask(mine, oidc_server.login("u-1"), "approve", WHY, **named).code == "denied"
    assert mine.ask("POST", f"/v1/candidates/{mine.town.candidate}/approve", WHY, headers=named).status == 401


# --- who does not -----------------------------------------------------------------------------------------------------


def claims(provider: OidcServer, **changes: Any) -> dict[str, Any]:
    """Those of a good token of a platform admin, changed."""
    return {**parts(provider.login("u-2"))[1], **changes}


def test_claims_that_the_provider_s_own_key_signed_still_have_to_be_ours(mine: Server, oidc_server: OidcServer) -> None:
    now = int(time.time())
    good = claims(oidc_server)
    assert ask(mine, oidc_server.signed(**good)).status == 200, "what follows is refused for its claims alone"
    late = now - int(LEEWAY) - 5
    for changes, says in (
        ({"iss": "https://login.example.org"}, "another issuer"),
        ({"iss": oidc_server.issuer + "/"}, "another issuer"),
        ({"aud": "wiki"}, "another audience"),
        ({"exp": late, "iat": late - 600}, "expired at"),
        ({"iat": now + 600}, "holds from"),
        ({"groups": "nobody's", "employee": ""}, "no name in its claim employee"),
    ):
        refused(mine, oidc_server.signed(**{**good, **changes}), says)
    refused(mine, oidc_server.login("u-1", client="wiki"), "another audience")
    refused(mine, oidc_server.machine("release-bot"), "a service cannot be release-manager")


@pytest.mark.parametrize("named", ["none", "None"])
def test_a_token_that_nobody_signed_is_refused(mine: Server, oidc_server: OidcServer, named: str) -> None:
    header, _, _ = parts(oidc_server.login("u-2"))
    refused(mine, put({**header, "alg": named}, claims(oidc_server), b""), "algorithm that is not accepted")


def test_the_public_key_signs_nothing(mine: Server, oidc_server: OidcServer) -> None:
    header, _, _ = parts(oidc_server.login("u-2"))
    published = next(key for key in oidc_server.published() if key["kid"] == header["kid"])
    pem = jwt.PyJWK(published, "RS256").key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for named, says in (("HS256", "algorithm that is not accepted"), ("RS256", "signature that is not")):
        body = f"{_text({**header, 'alg': named})}.{_text(claims(oidc_server))}"
        refused(mine, f"{body}.{_text(hmac.new(pem, body.encode(), hashlib.sha256).digest())}", says)


def test_a_changed_token_is_refused(mine: Server, oidc_server: OidcServer) -> None:
    header, said, signature = parts(oidc_server.login("u-3"))
    refused(mine, put(header, {**said, "groups": ["platform"]}, signature), "signature that is not")


@pytest.mark.slow
def test_a_key_that_the_provider_does_not_publish_is_refused(
    mine: Server, oidc_server: OidcServer, mortal_oidc: Callable[[], OidcServer]
) -> None:
    """Another provider's token, as it is and in this one's name."""
    other = mortal_oidc()
    for token in (other.login("u-2"), other.signed(**claims(oidc_server))):
        refused(mine, token, "a key that the OpenID provider does not publish")


# --- the provider's keys change ---------------------------------------------------------------------------------------


def within(seconds: float, reached: Callable[[], bool]) -> None:
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.2)


@contextmanager
def own(town: Town, folder: Path, provider: OidcServer) -> Iterator[Server]:
    with served(provided(town, folder / "town", provider), folder / "server.log") as server:
        yield server


@pytest.mark.slow
def test_after_a_rotation_the_new_key_counts_and_the_removed_one_does_not(
    town: Town, tmp_path: Path, mortal_oidc: Callable[[], OidcServer]
) -> None:
    provider = mortal_oidc()
    before = provider.login("u-1")
    with own(town, tmp_path, provider) as server:
        assert ask(server, before).status == 200
        provider.rotate()
        after = provider.login("u-1")
        within(2 * SPACING, lambda: ask(server, after).status == 200)
        assert ask(server, after, "approve", WHY).status == 200
        refused(server, before, "a key that the OpenID provider does not publish")


@pytest.mark.slow
def test_a_provider_that_is_away_is_no_refusal(
    town: Town, tmp_path: Path, mortal_oidc: Callable[[], OidcServer]
) -> None:
    provider = mortal_oidc()
    token = provider.login("u-1")
    with own(town, tmp_path, provider) as server:
        provider.stop()
        found = ask(server, token)
        assert (found.status, found.code, found.json["temporary"]) == (503, "unreachable", True)
        assert found.headers["retry-after"]
        assert server.ask("GET", "/v1/whoami", who="ada").status == 200, "local tokens need no provider"
        provider.start()
        token = provider.login("u-1")
        within(2 * SPACING, lambda: ask(server, token).status == 200)
        provider.stop()
        assert ask(server, token).status == 200, "its keys are known"


# --- the command line over it -----------------------------------------------------------------------------------------


@pytest.fixture
def away(mine: Server, place: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Types a command with somebody's token at the server, which alone knows the provider."""

    def typed(token: str, *words: str) -> Any:
        monkeypatch.setattr(remote, "_PAUSE_SECONDS", 0.0)
        monkeypatch.setenv("TOWPATH_SERVER", mine.url)
        monkeypatch.setenv("TOWPATH_TOKEN", token)
        ran = cli(*words, "--json")
        assert token not in ran.out + ran.err
        return ran

    return typed


def test_the_command_line_acts_with_a_token_of_the_provider(
    mine: Server, oidc_server: OidcServer, away: Callable[..., Any]
) -> None:
    ada, grace, robot = oidc_server.login("u-1"), oidc_server.login("u-3"), oidc_server.machine("nightly-run")
    said = away(ada, "whoami").json
    assert (said["person"], said["via"]) == ("ada", "oidc:u-1")
    approve = ("approve", mine.town.candidate, "--reason", "read its card")
    done = away(ada, *approve)
    assert (done.code, done.json["act"]) == (0, "approve"), done.out
    last = written(mine, RecordKind.APPROVAL)[-1]
    assert (last.actor, last.via, last.body["reason"]) == ("ada", "oidc:u-1", "read its card")
    assert away(robot, "ledger", "checkpoint").code == 0
    for token, person in ((grace, "grace"), (robot, "nightly-run")):
        ran = away(token, *approve)
        assert (ran.code, ran.json["error"]["code"]) == (3, "forbidden")
        assert person in ran.json["error"]["message"]
    assert away(ada, *approve, "--by", "grace").json["error"]["code"] == "denied"


def test_the_command_line_says_why_a_token_is_refused(
    mine: Server, oidc_server: OidcServer, away: Callable[..., Any]
) -> None:
    late = int(time.time()) - 3600
    header, said, _ = parts(oidc_server.login("u-2"))
    cases: Mapping[str, str] = {
        oidc_server.signed(**{**said, "exp": late, "iat": late - 600}): "expired at",
        oidc_server.login("u-2", client="wiki"): "another audience",
        put({**header, "alg": "none"}, said, b""): "algorithm that is not accepted",
    }
    for token, says in cases.items():
        ran = away(token, "token", "create", "--person", "eve", "--role", "platform-admin")
        assert (ran.code, ran.json["error"]["code"]) == (3, "unauthenticated")
        assert says in ran.json["error"]["message"]
