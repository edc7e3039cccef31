"""What the API promises beside its verbs: once is once, pages stand still, limits hold, and nothing leaks."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from console.candidates import attested
from console.conftest import PROJECT, ROOT, Server, Town, served
from rollout import house
from towpath import wiring
from towpath.console.config import ServerConfig
from towpath.console.limits import Buckets, Rate
from towpath.core.evidence import RecordKind
from towpath.core.grants import granted
from towpath.core.identity import Kind
from towpath.ports import TokenGrant

MANAGER = f"release-manager@{PROJECT}"
ADMIN = "platform-admin@*"
WHY = {"reason": "better on every carrier"}


def records(server: Server, kind: RecordKind) -> list[Any]:
    return [record for record in server.town.records() if record.kind is kind]


# --- once -------------------------------------------------------------------------------------------------------------


def test_sixteen_at_once_with_one_key_are_one_record(fresh: Server) -> None:
    path, key = f"/v1/candidates/{fresh.town.candidate}/approve", {"Idempotency-Key": "k-16"}
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda _: fresh.ask("POST", path, WHY, who=MANAGER, headers=key), range(16)))
    assert {one.status for one in found} == {200}
    assert len({one.text for one in found}) == 1
    assert sum("idempotent-replayed" in one.headers for one in found) == 15
    (record,) = records(fresh, RecordKind.APPROVAL)
    assert (record.actor, record.via) == (MANAGER, fresh.town.identities[MANAGER].via)
    assert record.signer is not None


def test_sixteen_tokens_asked_for_at_once_with_one_key_are_one(fresh: Server) -> None:
    body, key = {"person": "eve", "grants": ["viewer"]}, {"Idempotency-Key": "eve-1"}
    before = len(fresh.ask("GET", "/v1/tokens", who=ADMIN).json["tokens"])
    with ThreadPoolExecutor(16) as pool:
        found = list(
            pool.map(lambda _: fresh.ask("POST", "/v1/tokens/create", body, who=ADMIN, headers=key), range(16))
        )
    assert {one.status for one in found} == {200}
    assert len({one.json["id"] for one in found}) == 1
    assert len(fresh.ask("GET", "/v1/tokens", who=ADMIN).json["tokens"]) == before + 1
    secrets = [one.json["token"] for one in found if one.json["token"]]
    assert len(secrets) == 1, "the secret is shown once, and kept nowhere"
    with closing(wiring.open_claims(fresh.town.settings)) as claims, claims._database.reading() as connection:
        kept = connection.exec_driver_sql("SELECT answer FROM towpath_claims").scalars().all()
    assert kept
    assert not any(secrets[0] in text for text in kept)


def test_another_request_with_the_same_key_is_refused(fresh: Server) -> None:
    path, key = f"/v1/candidates/{fresh.town.candidate}/approve", {"Idempotency-Key": "k-2"}
    assert fresh.ask("POST", path, WHY, who=MANAGER, headers=key).status == 200
    other = fresh.ask("POST", path, {"reason": "another reason"}, who=MANAGER, headers=key)
    assert (other.status, other.code) == (422, "bad_input")
    assert "Idempotency-Key" in other.json["detail"]
    # it is bound to the person: another one has a key of the same text
    assert fresh.ask("POST", path, WHY, who="release-manager@*", headers=key).status == 200
    assert len(records(fresh, RecordKind.APPROVAL)) == 2


def test_what_was_refused_is_asked_anew_with_the_same_key(fresh: Server) -> None:
    path, key = f"/v1/candidates/{fresh.town.candidate}/withdraw", {"Idempotency-Key": "k-3"}
    assert fresh.ask("POST", path, WHY, who=MANAGER, headers=key).code == "denied"
    approve = f"/v1/candidates/{fresh.town.candidate}/approve"
    assert fresh.ask("POST", approve, WHY, who=MANAGER).status == 200
    assert fresh.ask("POST", path, WHY, who=MANAGER, headers=key).json["act"] == "withdraw"


# --- pages ------------------------------------------------------------------------------------------------------------


def test_pages_stand_still_while_records_are_appended(fresh: Server) -> None:
    with closing(wiring.open_ledger(fresh.town.settings)) as ledger:
        before = [record.sequence for record in ledger.records()]
        seen, cursor, number = [], "", 10
        while True:
            page = fresh.ask("GET", f"/v1/ledger/records?limit=7{cursor}", who="auditor@*").json
            seen += [record["sequence"] for record in page["records"]]
            house.registered(ledger, number)
            number += 1
            if page["next"] is None:
                break
            cursor = f"&cursor={page['next']}"
    assert seen == before


def test_pages_of_candidates_stand_still_too(fresh: Server) -> None:
    with closing(wiring.open_ledger(fresh.town.settings)) as ledger:
        for number in range(10, 15):
            house.registered(ledger, number)
        path = f"/v1/projects/{PROJECT}/candidates?limit=3"
        page = fresh.ask("GET", path, who=MANAGER).json
        whole = [one["candidate"] for one in fresh.ask("GET", path[:-1] + "100", who=MANAGER).json["candidates"]]
        seen = [one["candidate"] for one in page["candidates"]]
        while page["next"] is not None:
            house.registered(ledger, 20 + len(seen))
            page = fresh.ask("GET", f"{path}&cursor={page['next']}", who=MANAGER).json
            seen += [one["candidate"] for one in page["candidates"]]
    assert seen == whole
    assert len(seen) == len(set(seen)) == 8


@pytest.mark.parametrize("cursor", ["x", "AAAA", "WzEsMl0", "%00", "ZXZpbA==", "W251bGwsbnVsbCxudWxsXQ"])
def test_a_cursor_that_was_not_given_out_is_refused(server: Server, cursor: str) -> None:
    found = server.ask("GET", f"/v1/ledger/records?cursor={cursor}", who="auditor@*")
    assert (found.status, found.code) == (422, "bad_input")


def test_a_cursor_is_good_for_its_own_listing_only(server: Server) -> None:
    cursor = server.ask("GET", "/v1/ledger/records?limit=1", who="auditor@*").json["next"]
    found = server.ask("GET", f"/v1/ledger/records?kind=entry&cursor={cursor}", who="auditor@*")
    assert "another listing" in found.json["detail"]


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "limit=x", "limit=1&limit=2", "colour=red", "kind=nothing"])
def test_what_is_asked_for_is_checked(server: Server, query: str) -> None:
    assert server.ask("GET", f"/v1/ledger/records?{query}", who="auditor@*").status == 422


# --- what cannot be read ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "kind", "status"),
    [
        (b"{}", "text/plain", 415),
        (b"reason=x", "application/x-www-form-urlencoded", 415),
        (b"{", "application/json", 422),
        (b"[" * 100_000, "application/json", 422),
        (b'{"reason": "a b", "colour": 1}', "application/json", 422),
        (b'{"reason": "a\\u0000b"}', "application/json", 422),
        (b'{"reason": "\\ud800 b"}', "application/json", 422),
        (b'{"reason": "' + b"a " * 600_000 + b'"}', "application/json", 413),
        (b"", "application/json", 422),
    ],
)
def test_a_body_that_cannot_be_read_is_refused(server: Server, raw: bytes, kind: str, status: int) -> None:
    path = f"/v1/candidates/{server.town.candidate}/approve"
    found = server.ask("POST", path, raw=raw, who=MANAGER, headers={"Content-Type": kind})
    assert found.status in (status, 400 if status == 422 else status), found.text
    assert found.headers["content-type"] == "application/problem+json"


def test_a_body_without_end_is_refused_by_its_size(server: Server) -> None:
    """Chunked: no Content-Length says how much will come."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as sock:
        token = server.town.tokens[MANAGER]
        head = (
            f"POST /v1/candidates/x/approve HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
            "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        sock.sendall(head.encode())
        chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        try:
            for _ in range(40):
                sock.sendall(chunk)
        except OSError:
            pass  # it has answered and hung up
        assert b"413" in sock.recv(100)


@pytest.mark.parametrize("name", ["token", "access_token", "Authorization", "api_key"])
def test_a_token_in_the_address_is_refused(server: Server, name: str) -> None:
    token = server.town.tokens[MANAGER]
    found = server.ask("GET", f"/v1/whoami?{name}={token}", who=MANAGER)
    assert (found.status, found.code) == (400, "bad_input")
    assert token not in found.text
    assert token not in server.log.read_text()


def test_no_token_is_in_the_log_and_who_asked_is(server: Server) -> None:
    found = server.ask("GET", "/v1/whoami", who=MANAGER, headers={"X-Request-Id": "my-own-1"})
    assert found.headers["x-request-id"] == "my-own-1"
    log = ""
    for _ in range(200):  # the line is written behind the answer
        log = server.log.read_text()
        if "my-own-1" in log:
            break
        time.sleep(0.05)
    (line,) = [line for line in log.splitlines() if "my-own-1" in line]
    said = json.loads(line[line.index("{") :])
    assert (said["person"], said["operation"], said["status"]) == (MANAGER, "whoami", 200)
    assert said["via"] == server.town.identities[MANAGER].via
    assert not any(token in log for token in server.town.tokens.values())
    odd = server.ask("GET", "/v1/whoami", who=MANAGER, headers={"X-Request-Id": 'a" injected'})
    assert odd.headers["x-request-id"] != 'a" injected'


def test_answers_bear_what_keeps_browsers_from_guessing(server: Server) -> None:
    found = server.ask("OPTIONS", "/v1/whoami", who=MANAGER, headers={"Origin": "https://evil.example"})
    assert not [name for name in found.headers if name.startswith("access-control")]
    assert found.headers["x-content-type-options"] == "nosniff"
    assert found.headers["cache-control"] == "no-store"
    assert "server" not in found.headers


def test_a_worker_s_command_is_named_where_somebody_looks_for_it(server: Server) -> None:
    found = server.ask("POST", f"/v1/projects/{PROJECT}/run", {}, who=MANAGER)
    assert (found.status, found.code) == (404, "not_found")
    assert "`towpath run` on a worker" in found.json["hint"]


def test_health_readiness_and_metrics_need_no_token(server: Server) -> None:
    assert server.ask("GET", "/healthz").json == {"status": "alive"}
    assert server.ask("GET", "/readyz").json == {"status": "ready"}
    server.ask("GET", "/v1/whoami", who=MANAGER)
    text = server.ask("GET", "/metrics").text
    assert 'towpath_api_requests_total{operation="whoami",status="200"}' in text
    assert server.town.candidate not in text


# --- limits -----------------------------------------------------------------------------------------------------------


def test_who_asks_too_often_waits_and_others_do_not(town: Town, tmp_path: Path) -> None:
    with served(town, tmp_path / "log", rate=0.01, burst=5) as server:
        found = [server.ask("GET", "/v1/whoami", who=MANAGER) for _ in range(8)]
        assert [one.status for one in found] == [200] * 5 + [429] * 3
        assert found[-1].code == "too_many_requests"
        assert 1 <= int(found[-1].headers["retry-after"]) <= 100
        assert server.ask("GET", "/v1/whoami", who="auditor@*").status == 200
        assert server.ask("GET", "/healthz").status == 200


def test_an_address_that_guesses_waits_and_who_has_a_token_does_not(town: Town, tmp_path: Path) -> None:
    with served(town, tmp_path / "log", unknown_rate=0.01, unknown_burst=3) as server:
        wrong = {"Authorization": "Bearer tp_000000000000_" + "0" * 64}
        assert [server.ask("GET", "/v1/whoami", headers=wrong).status for _ in range(5)] == [401] * 3 + [429] * 2
        assert server.ask("GET", "/v1/whoami").status == 429
        assert server.ask("GET", "/v1/whoami", who=MANAGER).status == 200


def test_a_bucket_fills_at_its_rate_and_never_over() -> None:
    now = [0.0]
    buckets = Buckets(Rate(per_second=2, burst=3), clock=lambda: now[0])
    assert [buckets.take("a") for _ in range(3)] == [0, 0, 0]
    assert buckets.take("a") == 0.5
    now[0] += 0.5
    assert buckets.take("a") == 0
    assert buckets.empty("a") == 0.5
    now[0] += 1000
    assert [buckets.take("a") > 0 for _ in range(4)] == [False, False, False, True]
    assert buckets.take("b") == 0


# --- who --------------------------------------------------------------------------------------------------------------


def test_a_token_that_ends_in_the_middle_ends_the_session(fresh: Server) -> None:
    settings = fresh.town.settings
    with closing(wiring.open_tokens(settings)) as tokens:
        admin = tokens.identify(fresh.town.tokens["ada"])
        wanted = TokenGrant(
            person="brief",
            account="brief",
            kind=Kind.PERSON,
            grants=granted(["viewer"]),
            expires_at=wiring.now() + timedelta(seconds=3),
        )
        _, text = tokens.create(wanted, by=admin)
    headers = {"Authorization": f"Bearer {text}"}
    with closing(http.client.HTTPConnection("127.0.0.1", fresh.port, timeout=30)) as connection:
        statuses = []
        while 401 not in statuses and len(statuses) < 2_000:
            connection.request("GET", "/v1/whoami", headers=headers)
            answer = connection.getresponse()
            body = answer.read()
            statuses.append(answer.status)
    assert statuses[0] == 200
    assert "expired" in json.loads(body)["detail"]


def test_a_revoked_token_proves_nothing_from_the_next_request_on(fresh: Server) -> None:
    mine = fresh.town.identities[MANAGER].credential
    assert fresh.ask("GET", "/v1/whoami", who=MANAGER).json["credential"] == mine
    done = fresh.ask("POST", f"/v1/tokens/{mine}/revoke", {"reason": "it was in a log"}, who=ADMIN)
    assert done.json["state"] == "revoked"
    assert fresh.ask("GET", "/v1/whoami", who=MANAGER).status == 401


def test_an_open_installation_serves_this_machine_alone(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    environment = {"TOWPATH_STATE": "state", "PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT / "platform")}
    ran = subprocess.run(
        [sys.executable, "-m", "towpath.console", ServerConfig(host="0.0.0.0").model_dump_json()],
        cwd=tmp_path / "open",
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    said = json.loads(ran.stdout)
    assert (ran.returncode, said["code"]) == (1, "denied")
    assert "no token was ever made" in said["error"]


def test_an_open_installation_believes_names_and_no_web_page(town: Town, tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    opened = Town(**{**vars(town), "folder": tmp_path / "open"})
    with closing(wiring.open_ledger(opened.settings)) as ledger:
        house.crowned(ledger, house.registered(ledger, 1))
    with served(opened, tmp_path / "log") as server:
        assert "The installation is open" in server.log.read_text()
        named = {"Towpath-Actor": "Zo%C3%AB"}
        assert server.ask("GET", "/v1/whoami", headers=named).json["person"] == "Zoë"
        # a name of a web site that leads here: DNS rebinding
        rebound = server.ask("GET", "/v1/whoami", headers={**named, "Host": "evil.example:80"})
        assert rebound.status == 401
        refused = server.ask("POST", f"/v1/projects/{PROJECT}/rollback", WHY)
        assert refused.code == "denied", "a decision needs a person's name"
        path = "/v1/tokens/create"
        made = server.ask("POST", path, {"person": "ada", "grants": ["platform-admin"]}, headers=named)
        assert made.json["first"]
        assert server.ask("GET", "/v1/whoami", headers=named).status == 401, "the first token closes it"
        mine = {"Authorization": f"Bearer {made.json['token']}"}
        assert server.ask("GET", "/v1/whoami", headers=mine).json["installation"] == "closed"
        other = server.ask("GET", "/v1/whoami", headers={**mine, "Towpath-Actor": "grace"})
        assert other.code == "denied", "a token says who acts; a name may only repeat it"


# --- a whole decision -------------------------------------------------------------------------------------------------


def test_a_rollout_is_started_paused_and_explained_without_the_project_s_folder(fresh: Server) -> None:
    """By the policy that was frozen with the candidate; the town's own rollout is ended first."""
    orders = f"/v1/projects/{PROJECT}/rollout"
    ended = fresh.ask("POST", f"{orders}/abort", WHY, who=MANAGER)
    assert ended.json.get("to_state") == "aborted", ended.text
    with closing(wiring.open_ledger(fresh.town.settings)) as ledger:
        challenger = attested(ledger, wiring.open_keys(fresh.town.settings), 30)
    begun = fresh.ask("POST", f"/v1/candidates/{challenger.id}/rollout/start", WHY, who=MANAGER)
    assert begun.status == 200, begun.text
    rollout = begun.json["rollout_id"]
    assert begun.json["challenger"]["candidate"] == challenger.id
    shown = fresh.ask("GET", f"/v1/rollouts/{rollout}", who=f"viewer@{PROJECT}")
    assert "salt" not in shown.json["rollout"], "who knows it can tell who gets the challenger"
    assert fresh.ask("GET", f"/v1/rollouts/{rollout}/explain", who=MANAGER).json["says"]
    assert fresh.ask("GET", f"/v1/rollouts/{rollout}/replay", who=MANAGER).json["same"]
    assert fresh.ask("GET", "/v1/ledger/verify", who="auditor@*").json["whole"]
    decision = records(fresh, RecordKind.DECISION)[-1]
    assert (decision.actor, decision.via) == (MANAGER, fresh.town.identities[MANAGER].via)


def test_promoting_says_what_is_missing(fresh: Server) -> None:
    """The charter declares a rollout: without its folder, the frozen terms say so."""
    found = fresh.ask("POST", f"/v1/candidates/{fresh.town.candidate}/promote", WHY, who=MANAGER)
    assert (found.status, found.code) == (409, "denied")
    assert "declares a rollout" in found.json["detail"]
    shown = fresh.ask("GET", f"/v1/candidates/{fresh.town.candidate}", who=MANAGER).json
    assert shown["approvals"]["requirement"]["risk"] == "low"
    assert shown["emergencies"][0]["state"] == "opened"
