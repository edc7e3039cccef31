"""Every page, asked by everybody: the matrix of roles and actions over REST and over the remote command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.conftest import Cli
from console.conftest import EMPTY, EVERYBODY, PROJECT, Server
from console.requests import requests
from towpath.core.access import MATRIX, Action, permits
from towpath.core.evidence import RecordKind
from towpath.verbs.table import VERBS, WORKERS


def test_every_action_is_a_verb_or_a_worker_s() -> None:
    asked = {verb.action for verb in VERBS.values()} - {None}
    assert asked | set(WORKERS) == set(Action)
    assert not asked & set(WORKERS)


@pytest.mark.slow
@pytest.mark.parametrize("name", VERBS)
def test_a_page_is_open_to_whom_the_matrix_lets(server: Server, name: str) -> None:
    """All of them: {role} x {this project, another, every one} x {person, service}."""
    typed, action = requests(server.town)[name], VERBS[name].action
    for who in EVERYBODY:
        found = server.ask(typed.method, typed.path, typed.body, who=who)
        if action is None or permits(server.town.identities[who], action, typed.project):
            assert found.status not in (401, 403), f"{who}: {found.text}"
            assert found.status < 500, f"{who}: {found.text}"
        else:
            assert (found.status, found.code) == (403, "forbidden"), f"{who}: {found.text}"
            if permits(server.town.identities[who], Action.READ, typed.project):
                assert set(found.json["valid"]) == {role.value for role in MATRIX[action].roles}


@pytest.mark.parametrize("name", VERBS)
def test_without_a_token_no_page_says_anything(server: Server, name: str) -> None:
    typed = requests(server.town)[name]
    for headers in ({}, {"Authorization": "Bearer tp_000000000000_" + "0" * 64}, {"Authorization": "Basic YTpi"}):
        found = server.ask(typed.method, typed.path, typed.body, headers=headers)
        assert (found.status, found.code) == (401, "unauthenticated")
        assert found.headers["www-authenticate"].startswith("Bearer")
        assert found.headers["content-type"] == "application/problem+json"


def test_a_refusal_is_recorded_with_who_and_how(server: Server) -> None:
    server.ask("POST", f"/v1/projects/{PROJECT}/rollback", {"reason": "I want to"}, who=f"viewer@{PROJECT}")
    mine = [one for one in server.town.records() if one.kind is RecordKind.ACCESS and one.actor == f"viewer@{PROJECT}"]
    assert "rollback" in {one.body.get("refused") for one in mine}
    assert {one.via for one in mine} == {server.town.identities[f"viewer@{PROJECT}"].via}
    unknown = len(server.town.records())
    assert server.ask("POST", f"/v1/projects/{PROJECT}/rollback", {"reason": "I want to"}).status == 401
    assert len(server.town.records()) == unknown


# --- the remote command line ------------------------------------------------------------------------------------------

COMMANDS: dict[str, str] = {
    "approve": "approve {candidate} --reason no",
    "withdraw": "approve {candidate} --withdraw --reason no",
    "waive": "waive {candidate} --gate eval.calibration --expires 1d --reason no",
    "waive-withdraw": "waive {candidate} --gate eval.calibration --withdraw --reason no",
    "promote": "promote {candidate} --reason no",
    "rollback": "rollback {project} --reason no",
    "emergency-open": "emergency open {candidate} --reason no",
    "emergency-confirm": "emergency confirm {emergency}",
    "emergency-follow-up": "emergency follow-up {emergency} --report short",
    "rollout-start": "rollout start {candidate} --reason no",
    **{f"rollout-{one}": f"rollout {one} {{project}} --reason no" for one in ("pause", "resume", "promote")},
    **{f"rollout-{one}": f"rollout {one} {{project}} --reason no" for one in ("rollback", "abort")},
    "rollout-mirror": "rollout mirror {project}",
    "ledger-checkpoint": "ledger checkpoint",
    "hold-place": "hold place {project} --reason no",
    "hold-release": "hold release {project} --reason no",
    "retention-apply": "retention apply --older-than 400d --dry-run",
    "token-create": "token create --person eve --role nobody",
    "token-list": "token list",
    "token-revoke": "token revoke none --reason a-test-wants-it",
    "key-rotate": "key rotate model",
    "key-pseudonym": "key pseudonym default",
    "key-revoke": "key revoke {key} --reason no",
    "feedback": "feedback {project} --labels labels.csv --key id --label y",
    "reconcile": f"reconcile {EMPTY}",
}
HIDDEN = {"emergency-confirm", "emergency-follow-up"}
"""Who may not read a project is told that there is no such emergency."""


def test_every_verb_that_changes_anything_has_a_command_here() -> None:
    assert {name for name, verb in VERBS.items() if verb.changes} <= set(COMMANDS)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in COMMANDS if name in VERBS])
def test_the_remote_command_line_is_refused_the_same(
    server: Server, cli: Cli, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    town, action = server.town, VERBS[name].action
    assert action is not None
    project = requests(town)[name].project
    words = {"candidate": town.candidate, "project": PROJECT, "emergency": town.emergency, "key": town.key}
    Path("labels.csv").write_text("id,y\n7,1\n", encoding="utf-8")
    monkeypatch.setenv("TOWPATH_SERVER", server.url)
    for who in EVERYBODY:
        if name == "emergency-confirm" and permits(town.identities[who], action, project):
            continue  # it would be confirmed
        monkeypatch.setenv("TOWPATH_TOKEN", town.tokens[who])
        ran = cli(*COMMANDS[name].format(**words).split(), "--json")
        code = ran.json.get("error", {}).get("code") if isinstance(ran.json, dict) else None
        if permits(town.identities[who], action, project):
            assert code not in ("forbidden", "unauthenticated"), f"{who}: {ran.out}"
            assert ran.code != 1, f"{who}: {ran.out}"
        elif name in HIDDEN and not permits(town.identities[who], Action.READ, project):
            assert (ran.code, code) == (2, "not_found"), f"{who}: {ran.out}"
        else:
            assert (ran.code, code) == (3, "forbidden"), f"{who}: {ran.out}"
