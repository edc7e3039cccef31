"""Every command that changes anything, asked by everybody: the matrix of roles and actions over the command line."""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from access.conftest import grant
from cli.conftest import Cli, Ran
from rollout import house
from towpath import wiring
from towpath.cli import opening, reference
from towpath.core.access import MATRIX, Action, permits
from towpath.core.errors import Forbidden
from towpath.core.evidence import Record, RecordKind
from towpath.core.identity import Identity, Kind, Role, claimed
from towpath.ports import Purpose
from towpath.settings import Settings
from towpath.stages.emergency import open_emergency

PROJECT = house.PROJECT
WHY = ("--reason", "a test wants it")

# What each command that changes anything is, as the matrix has it, and how it is typed.
CHANGES: dict[str, tuple[Action, tuple[str, ...]]] = {
    "run": (Action.RUN, ("project",)),
    "monitor": (Action.MONITOR, ("project",)),
    "batch": (Action.BATCH, ("project", "--input", "rows.csv", "--output", "scored.csv")),
    "export": (Action.EXPORT, ("{candidate}", "--to", "bundle")),
    "reproduce": (Action.REPRODUCE, ("{candidate}",)),
    "feedback": (Action.FEEDBACK, (PROJECT, "--labels", "labels.csv", "--key", "id", "--label", "y")),
    "approve": (Action.APPROVE, ("{candidate}", *WHY)),
    "waive": (Action.WAIVE, ("{candidate}", "--gate", "eval.calibration", "--expires", "1d", *WHY)),
    "promote": (Action.PROMOTE, ("{candidate}", "--project", "project", *WHY)),
    "rollback": (Action.ROLLBACK, (PROJECT, *WHY)),
    "reconcile": (Action.RECONCILE, (PROJECT,)),
    "rollout start": (Action.ROLLOUT_START, ("{candidate}", "--project", "project", *WHY)),
    "rollout pause": (Action.ROLLOUT_PAUSE, (PROJECT, *WHY)),
    "rollout resume": (Action.ROLLOUT_RESUME, (PROJECT, *WHY)),
    "rollout promote": (Action.ROLLOUT_PROMOTE, (PROJECT, *WHY)),
    "rollout rollback": (Action.ROLLOUT_ROLLBACK, (PROJECT, *WHY)),
    "rollout abort": (Action.ROLLOUT_ABORT, (PROJECT, *WHY)),
    "rollout run": (Action.ROLLOUT_RUN, (PROJECT,)),
    "rollout mirror": (Action.RECONCILE, (PROJECT,)),
    "emergency open": (Action.EMERGENCY_OPEN, ("{candidate}", *WHY)),
    "emergency confirm": (Action.EMERGENCY_CONFIRM, ("{emergency}", "--project", "project")),
    "emergency follow-up": (Action.EMERGENCY_FOLLOW_UP, ("{emergency}", "--report", "it was a test of ours")),
    "model attest": (Action.MODEL_ATTEST, ("{candidate}",)),
    "key rotate": (Action.KEY_ROTATE, ("ledger",)),
    "key pseudonym": (Action.KEY_ROTATE, ("default",)),
    "key revoke": (Action.KEY_REVOKE, ("{key}", *WHY)),
    "ledger checkpoint": (Action.LEDGER_CHECKPOINT, ()),
    "ledger backup": (Action.LEDGER_BACKUP, ("backup.zip",)),
    "ledger restore": (Action.LEDGER_BACKUP, ("backup.zip", "--into", "sqlite:///restored.db")),
    "hold place": (Action.HOLD_PLACE, (PROJECT, *WHY)),
    "hold release": (Action.HOLD_RELEASE, (PROJECT, *WHY)),
    "retention apply": (Action.RETENTION_APPLY, ("--older-than", "365d")),
    "token create": (Action.TOKEN_CREATE, ("--person", "mallory", "--role", "platform-admin")),
    "token list": (Action.TOKEN_LIST, ()),
    "token revoke": (Action.TOKEN_REVOKE, ("{token}", *WHY)),
}
VARIANTS = {"approve --withdraw": (Action.WITHDRAW, ("approve", "{candidate}", "--withdraw", *WHY))}
# What changes nothing that the record speaks of, or serves: a process that watches the record is no actor in it. The
# demo acts as people that it makes itself, where it may.
READS = {
    "contract diff",  # of two files, or with what a champion was made by
    "contract consumers",
    "init",  # writes a folder of drafts
    *("check", "status", "slo", "show", "gates", "schema", "doctor", "whoami", "up", "serve", "server", "demo"),
    *("rollout status", "rollout explain", "rollout replay", "emergency list", "model check", "model verify"),
    *("key list", "ledger verify", "ledger at", "ledger show", "ledger export", "hold list", "retention list"),
}


@dataclass(frozen=True, kw_only=True)
class Closed:
    """A closed installation with a champion, a candidate and an open emergency, and a token for each role."""

    folder: Path
    words: dict[str, str]
    tokens: dict[str, str]
    identities: dict[str, Identity]

    def typed(self, command: str) -> list[str]:
        action_and_words = VARIANTS.get(command) or CHANGES[command]
        words = action_and_words[1] if command in VARIANTS else (*command.split(), *action_and_words[1])
        return [*(word.format(**self.words) for word in words), "--json"]

    def records(self) -> list[Record]:
        with closing(wiring.open_ledger(opening.settings())) as ledger:
            return list(ledger.records())


PEOPLE = {role.value: (role.value, Kind.PERSON) for role in Role}
SOMEBODY = {
    **PEOPLE,
    "service": ("automation", Kind.SERVICE),
    "elsewhere": (f"release-manager@other platform-admin@other data-scientist@other auditor@{PROJECT}", Kind.PERSON),
}


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Closed:
    folder = tmp_path_factory.mktemp("closed")
    house.project(folder / "project")
    settings = Settings.read({"TOWPATH_STATE": "state", "TOWPATH_ACTOR": "setup"}, folder=folder)
    with closing(wiring.open_ledger(settings)) as ledger:
        champion = house.registered(ledger, 1)
        house.crowned(ledger, champion)
        candidate = house.registered(ledger, 2)
        tokens, identities = {}, {}
        with closing(wiring.open_tokens(settings)) as opened:
            token, text = opened.create(grant("platform-admin", person="ada", days=365), by=claimed("ada"))
            admin = opened.identify(text)
            for name, (roles, kind) in SOMEBODY.items():
                wanted = grant(*roles.split(), person=name, kind=kind, days=365)
                tokens[name] = opened.create(wanted, by=admin)[1]
                identities[name] = opened.identify(tokens[name])
        broken = open_emergency(candidate, admin, ledger, reason="a test wants it", now=wiring.now())
        key = next(iter(wiring.open_keys(settings).trusted(Purpose.MODEL)))
    words = {"candidate": candidate.id, "emergency": broken.emergency, "token": token.token_id, "key": key}
    return Closed(folder=folder, words=words, tokens=tokens, identities=identities)


@pytest.fixture
def closed(made: Closed, place: Path) -> Closed:
    """A copy of it for each test, in the working directory."""
    shutil.copytree(made.folder, place, dirs_exist_ok=True)
    return made


def refused(closed: Closed, cli: Cli, name: str, command: str, monkeypatch: pytest.MonkeyPatch) -> Ran:
    monkeypatch.setenv("TOWPATH_TOKEN", closed.tokens[name])
    return cli(*closed.typed(command))


def test_every_command_is_here_or_changes_nothing() -> None:
    leaves = {
        name.removeprefix("towpath ")
        for name, command in reference.commands().items()
        if not hasattr(command, "commands")
    }
    assert leaves == set(CHANGES) | READS
    assert not set(CHANGES) & READS


def test_every_action_that_a_command_can_ask_for_is_asked_for() -> None:
    asked = {action for action, _ in (*CHANGES.values(), *VARIANTS.values())}
    others = {Action.READ, Action.LEDGER_EXPORT}  # the record that is embedded is a file that can be read
    assert set(Action) - asked <= others


@pytest.mark.parametrize("command", [*CHANGES, *VARIANTS])
def test_without_a_token_nobody_changes_anything(
    closed: Closed, cli: Cli, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = closed.records()
    monkeypatch.setenv("TOWPATH_ACTOR", "ada")
    ran = cli(*closed.typed(command))
    assert (ran.code, ran.json["error"]["code"]) == (3, "unauthenticated"), ran.out + ran.err
    assert "TOWPATH_TOKEN" in ran.json["error"]["hint"]
    assert closed.records() == before


@pytest.mark.parametrize("command", [*CHANGES, *VARIANTS])
def test_a_role_without_the_right_is_refused_and_that_is_recorded(
    closed: Closed, cli: Cli, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    action = (VARIANTS.get(command) or CHANGES[command])[0]
    project = "*" if MATRIX[action].everywhere else PROJECT
    lacking = [name for name, identity in closed.identities.items() if not permits(identity, action, PROJECT)]
    assert lacking
    before = closed.records()
    for name in lacking:
        ran = refused(closed, cli, name, command, monkeypatch)
        assert (ran.code, ran.json["error"]["code"]) == (3, "forbidden"), f"{name}: {ran.out}{ran.err}"
        assert set(ran.json["error"]["valid"]) == {role.value for role in MATRIX[action].roles}
        *same, record = after = closed.records()
        assert same == before
        before = after
        assert (record.kind, record.actor, record.via) == (RecordKind.ACCESS, name, closed.identities[name].via)
        assert (record.body["refused"], record.body["project"], record.project) == (action.value, project, project)
        assert closed.tokens[name] not in record.model_dump_json()


def test_the_same_refusal_is_recorded_once_an_hour(closed: Closed, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    before = len(closed.records())
    for _ in range(5):
        assert refused(closed, cli, "viewer", "token list", monkeypatch).code == 3
    assert 1 <= len(closed.records()) - before <= 2  # an hour may have ended meanwhile


@pytest.mark.parametrize("role", SOMEBODY)
def test_the_matrix_holds_for_every_action(closed: Closed, role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOWPATH_TOKEN", closed.tokens[role])
    settings, identity = opening.settings(), closed.identities[role]
    for action in Action:
        for project in (PROJECT, "other", "*"):
            if permits(identity, action, project):
                assert opening.acting(settings, None, action, project) == identity
            else:
                with pytest.raises(Forbidden):
                    opening.acting(settings, None, action, project)


def test_a_name_beside_a_token_may_only_repeat_it(closed: Closed, monkeypatch: pytest.MonkeyPatch, cli: Cli) -> None:
    monkeypatch.setenv("TOWPATH_TOKEN", closed.tokens["release-manager"])
    monkeypatch.setenv("TOWPATH_ACTOR", "somebody else")  # for who has no token
    ran = cli(*closed.typed("rollout pause"), "--by", "ada")
    assert (ran.code, ran.json["error"]["code"], ran.json["error"]["valid"]) == (3, "denied", ["release-manager"])
    for named in ((), ("--by", "release-manager")):
        ran = cli(*closed.typed("rollout pause"), *named)
        assert (ran.code, ran.json["error"]["code"]) == (2, "not_found")  # there is no open rollout


def test_a_revoked_token_is_refused_by_the_next_command(
    closed: Closed, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOWPATH_TOKEN", closed.tokens["release-manager"])
    assert cli("whoami").code == 0
    mine = closed.identities["release-manager"].credential
    monkeypatch.setenv("TOWPATH_TOKEN", closed.tokens["platform-admin"])
    assert cli("token", "revoke", mine, *WHY).code == 0
    monkeypatch.setenv("TOWPATH_TOKEN", closed.tokens["release-manager"])
    ran = cli(*closed.typed("rollout pause"))
    assert (ran.code, ran.json["error"]["message"]) == (3, f"Token {mine} was revoked.")


def test_reading_the_embedded_record_stays_free(closed: Closed, cli: Cli) -> None:
    for command in (("status",), ("ledger", "verify"), ("ledger", "show"), ("key", "list"), ("emergency", "list")):
        assert cli(*command, "--json").code == 0, command


def test_the_demo_makes_itself_no_people_where_tokens_are_asked_for(
    closed: Closed, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = closed.records()
    assert cli("demo", "--json").code == 3
    monkeypatch.setenv("TOWPATH_TOKEN", closed.tokens["release-manager"])
    assert cli("demo", "--json").code == 3
    assert closed.records() == before


def test_whoami_says_who_and_what(closed: Closed, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli("whoami", "--json").json["error"]["code"] == "unauthenticated"
    monkeypatch.setenv("TOWPATH_TOKEN", closed.tokens["service"])
    said = cli("whoami", "--json").json
    identity = closed.identities["service"]
    assert (said["person"], said["kind"], said["proof"], said["via"]) == ("service", "service", "token", identity.via)
    assert (said["installation"], said["grants"], said["issued_by"]) == ("closed", ["automation"], "ada")
    assert said["may"] == {"*": [action.value for action in Action if permits(identity, action, "*")]}
    assert "known by token:" in cli("whoami").out


def test_what_is_written_says_how_it_was_known_who_acted(
    closed: Closed, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOWPATH_TOKEN", closed.tokens["auditor"])
    assert cli("ledger", "checkpoint", "--json").code == 0
    monkeypatch.setenv("TOWPATH_TOKEN", closed.tokens["platform-admin"])
    assert cli(*closed.typed("token create")).code == 0
    last = closed.records()[-1]
    assert (last.actor, last.via) == ("platform-admin", closed.identities["platform-admin"].via)


# --- an open installation ---------------------------------------------------------------------------------------------


def test_an_open_installation_takes_a_name_as_it_is_given(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    said = cli("whoami", "--by", "ada", "--json").json
    assert (said["person"], said["proof"], said["via"], said["installation"]) == ("ada", "claimed", "claimed", "open")
    assert not Path("state").exists()  # looking on makes nothing
    ran = cli("token", "create", "--person", "ada", "--role", "platform-admin", "--json")
    assert (ran.code, ran.json["error"]["code"]) == (3, "denied")  # the login name is not enough to decide by
    monkeypatch.setenv("TOWPATH_ACTOR", "ada")
    ran = cli("token", "create", "--person", "ada", "--role", "viewer", "--json")
    assert ran.code == 3
    assert "platform-admin in every project" in ran.json["error"]["message"]


def test_the_first_token_closes_it(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    first = ("token", "create", "--person", "ada", "--role", "platform-admin")
    ran = cli(*first, "--by", "ada", "--expires", "12h")
    assert ran.code == 0
    assert ran.out.startswith("tp_")
    assert len(ran.out.split()) == 1
    assert "from now on every change needs a token" in ran.err
    assert ran.out.strip() not in ran.err
    again = cli(*first, "--by", "ada", "--json")
    assert (again.code, again.json["error"]["code"]) == (3, "unauthenticated")
    monkeypatch.setenv("TOWPATH_TOKEN", ran.out.strip())
    second = cli("token", "create", "--person", "ci", "--service", "--role", "automation@flights", "--json").json
    assert (second["kind"], second["issued_by"], second["grants"]) == ("service", "ada", ["automation@flights"])
    listed = cli("token", "list")
    assert "In two weeks no platform admin has a token that holds" in listed.err
    assert second["token"] not in cli("token", "list", "--json").out


def test_a_token_for_an_installation_that_has_none_is_refused(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOWPATH_TOKEN", "tp_0123456789ab_" + "0" * 64)
    assert cli("whoami", "--json").json["error"]["code"] == "unauthenticated"
    monkeypatch.setenv("TOWPATH_TOKEN", "e30.e30.e30")
    assert "no OpenID provider is named" in cli("whoami", "--json").json["error"]["message"]


def test_a_token_goes_into_a_file_that_only_its_owner_reads(cli: Cli, place: Path) -> None:
    first = ("token", "create", "--person", "ada", "--role", "platform-admin", "--by", "ada")
    file = place / "ada.token"
    file.touch()
    assert cli(*first, "--out", str(file), "--json").json["error"]["code"] == "unwritable"
    file.unlink()
    assert cli(*first, "--expires", "5000d", "--out", str(file), "--json").json["error"]["code"] == "bad_input"
    bad = cli("token", "create", "--person", "ada", "--role", "viewer", "--by", "ada", "--out", str(file))
    assert (bad.code, file.exists()) == (3, False)
    ran = cli(*first, "--out", str(file), "--json")
    assert (ran.code, ran.json["file"], "token" in ran.json) == (0, str(file), False)
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text().startswith("tp_")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--role", "boss"), "names no role"),
        (("--role", "viewer@No Project"), "no project's name"),
        (("--role", "viewer", "--expires", "soon"), "no duration"),
        (("--role", "viewer", "--expires", "0d"), "cannot hold for"),
        (("--role", "viewer", "--expires", "367d"), "cannot hold for"),
    ],
)
def test_a_token_that_cannot_be_meant_is_refused(cli: Cli, arguments: tuple[str, ...], says: str) -> None:
    ran = cli("token", "create", "--person", "ada", "--by", "ada", *arguments, "--json")
    assert ran.code == 2
    assert says in ran.json["error"]["message"]


def test_no_refusal_of_an_unknown_caller_is_written(closed: Closed, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    before = closed.records()
    for given in ("tp_0123456789ab_" + "0" * 64, "e30.e30.e30", closed.tokens["viewer"][:-1] + "x", "tp_x"):
        monkeypatch.setenv("TOWPATH_TOKEN", given)
        ran = cli(*closed.typed("rollout pause"))
        assert (ran.code, ran.json["error"]["code"]) == (3, "unauthenticated")
        assert given not in ran.out + ran.err
    assert closed.records() == before
    assert "TOWPATH_TOKEN" in os.environ
