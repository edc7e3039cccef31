"""What does not depend on a project: help, gates, schema, doctor, bad settings, unreachable services."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cli import small_project
from cli.conftest import Cli, Recorded
from towpath import __version__
from towpath.cli.exits import CODES, exit_of
from towpath.core import errors
from towpath.core.gates import GATES

COMMANDS = [
    *(
        [name]
        for name in ("demo", "check", "run", "status", "show", "promote", "monitor", "gates", "schema", "doctor", "up")
    ),
    *(["ledger", name] for name in ("verify", "show", "export")),
]
HEAVY = {
    "mlflow",
    "feast",
    "prefect",
    "great_expectations",
    "evidently",
    "pandas",
    "numpy",
    "sklearn",
    "sqlalchemy",
    "pydantic",
}


def process(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command as a process of its own."""
    root = Path(__file__).parents[2] / "platform"
    search = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(root)]))
    return subprocess.run(
        [sys.executable, "-m", "towpath.cli", *arguments],
        env={**os.environ, "PYTHONPATH": search, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys, io, contextlib\n"
        "from towpath.cli import run\n"
        "with contextlib.redirect_stdout(io.StringIO()) as out: code = run(['--help'])\n"
        "assert code == 0 and 'The path' in out.getvalue()\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    root = Path(__file__).parents[2] / "platform"
    search = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(root)]))
    ran = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": search},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert not HEAVY & set(ran.stdout.split())


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(cli: Cli, command: list[str]) -> None:
    ran = cli(*command, "--help")
    assert ran.code == 0
    assert f"Example: towpath {' '.join(command)}" in ran.out
    assert "--json" in ran.out


def test_version(cli: Cli) -> None:
    assert cli("--version").out == f"towpath {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["rnu"], "No such command"),
        (["run", "--as-off", "2013-06-01"], "No such option"),
        (["run", "--as-of", "June"], "Invalid value"),
        (["run", "--until", "deploy"], "Invalid value"),
        (["show"], "Missing argument"),
        (["up", "--mlflow-port", "99999999"], "Invalid value"),
    ],
)
def test_a_mistyped_command_is_one_sentence(cli: Cli, arguments: list[str], says: str) -> None:
    ran = cli(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("usage: ")
    assert says in ran.err
    assert "--help" in ran.err
    as_json = cli(*arguments, "--json")
    assert as_json.json["error"]["code"] == "usage"
    assert as_json.err == ""


def test_every_error_class_has_an_exit_code() -> None:
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.TowpathError) and kind is not errors.TowpathError
    ]
    for kind in kinds:
        assert any(base in CODES for base in kind.__mro__), kind
    assert exit_of(errors.Problems([errors.BadInput("x")])) == 2
    assert exit_of(errors.Unreachable("x")) == 5


def test_gates_explain_every_gate(cli: Cli) -> None:
    assert {item["code"] for item in cli("gates", "--json").json} == set(GATES)
    one = cli("gates", "features.known_later").out
    assert GATES["features.known_later"].asks in one
    assert GATES["features.known_later"].mend in one
    every = cli("gates").out
    assert all(code in every for code in GATES)
    unknown = cli("gates", "features.known")
    assert unknown.code == 2
    assert "features.known_later" in unknown.err


def test_schema_is_the_charters(cli: Cli) -> None:
    document = cli("schema").json
    assert document["$schema"].startswith("https://json-schema.org/")
    assert "features" in document["required"]
    assert document["additionalProperties"] is False


def test_an_unknown_setting_is_refused_with_the_one_meant(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOWPATH_LEGDER", "x")
    ran = cli("status")
    assert ran.code == 2
    assert "TOWPATH_LEDGER" in ran.err


def test_a_state_folder_that_cannot_be_made(cli: Cli, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_project.write(place / "project")
    (place / "file").write_text("in the way")
    monkeypatch.setenv("TOWPATH_STATE", "file/state")
    ran = cli("run", "project", "--json")
    assert ran.code == 2
    assert ran.json["error"]["code"] == "unwritable"
    assert "TOWPATH_STATE" in ran.json["error"]["hint"]
    assert (place / "file").read_text() == "in the way"
    sick = cli("doctor", "--json")
    assert sick.code == 1
    line = next(line for line in sick.json["lines"] if line["what"] == "state folder")
    assert line["state"] == "fail"


@pytest.mark.parametrize("command", [["status"], ["ledger", "verify"], ["run", "project"], ["show", "abcd"]])
def test_an_unreachable_ledger_can_be_tried_again_and_keeps_its_password(
    cli: Cli, place: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    small_project.write(place / "project")
    monkeypatch.setenv("TOWPATH_LEDGER", f"postgresql://ada:hunter2@127.0.0.1:{free_port()}/towpath")
    ran = cli(*command, "--json")
    assert ran.code == 5
    assert ran.json["error"]["temporary"] is True
    assert "hunter2" not in ran.out + ran.err


def test_doctor_of_a_fresh_place_fails_nothing_and_makes_nothing(cli: Cli, place: Path) -> None:
    ran = cli("doctor", "--json")
    lines = {line["what"]: line for line in ran.json["lines"]}
    assert ran.code == 0, [line for line in lines.values() if line["state"] == "fail"]
    assert {"python", "mlflow", "feast", "prefect", "evidently", "great-expectations", "telemetry", "disk"} <= set(
        lines
    )
    assert "from the environment" in lines["TOWPATH_STATE"]["found"]
    assert "default: the login name" in lines["TOWPATH_ACTOR"]["found"]
    assert list(place.iterdir()) == []


def test_doctor_reads_the_ledgers_schema(cli: Cli, recorded: Recorded) -> None:
    lines = {line["what"]: line["found"] for line in cli("doctor", "--json").json["lines"]}
    assert "schema 0005" in lines["ledger"]


def test_doctor_says_what_does_not_answer_and_keeps_passwords(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv("TOWPATH_LEDGER", f"postgresql://ada:hunter2@127.0.0.1:{port}/towpath")
    monkeypatch.setenv("TOWPATH_MLFLOW", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{port}/api")
    monkeypatch.setenv("DO_NOT_TRACK", "0")
    ran = cli("doctor", "--json")
    assert ran.code == 1
    states = {}
    for line in ran.json["lines"]:
        states[line["what"]] = max(states.get(line["what"], "ok"), line["state"], key=["ok", "warn", "fail"].index)
    assert {what for what, state in states.items() if state == "fail"} == {"ledger", "mlflow", "prefect server"}
    assert states["telemetry"] == "warn"
    assert "hunter2" not in ran.out
    assert "towpath up" in cli("doctor").out


def test_doctor_survives_bad_settings(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOWPATH_COLOUR", "blue")
    ran = cli("doctor", "--json")
    assert ran.code == 1
    assert "TOWPATH_COLOUR" in ran.json["lines"][-1]["found"]


def test_a_defect_is_a_sentence_and_a_traceback_only_when_asked(
    cli: Cli, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object, **__: object) -> None:
        raise KeyError("nobody expected this")

    monkeypatch.setattr(json, "dumps", broken)
    ran = cli("schema")
    assert ran.code == 1
    assert ran.err.startswith("unexpected: KeyError: 'nobody expected this'")
    assert "Traceback" not in ran.err
    assert "Traceback" in cli("--debug", "schema").err


def test_a_closed_pipe_is_no_news(recorded: Recorded, place: Path) -> None:
    root = Path(__file__).parents[2] / "platform"
    search = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(root)]))
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as closed:
        ran = subprocess.run(
            [sys.executable, "-m", "towpath.cli", "ledger", "export", "-"],
            env={**os.environ, "PYTHONPATH": search},
            cwd=place,
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert (ran.returncode, ran.stderr) == (141, "")


@pytest.mark.slow
def test_json_is_alone_on_stdout(recorded: Recorded, place: Path) -> None:
    ran = process("run", str(recorded.project), "--as-of", "2024-01-29", "--until", "ingest", "--json")
    assert ran.returncode == 0, ran.stderr
    document = json.loads(ran.stdout)
    assert document["stages"][0]["figures"] == "56 rows in 1 tables"
    assert "visits from visits.csv" in ran.stderr


def test_completion_offers_the_names_that_are_there(recorded: Recorded, place: Path) -> None:
    def complete(words: str) -> str:
        environment = {"_TOWPATH_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        script = "import sys; sys.argv[0] = 'towpath'; from towpath.cli import main; main()"
        root = Path(__file__).parents[2] / "platform"
        search = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(root)]))
        ran = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONPATH": search, **environment},
            cwd=place,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return ran.stdout

    assert recorded.passed.id in complete("towpath show ")
    assert complete("towpath gates features.kn").split() == ["features.known_later"]
    assert "visits" in complete("towpath status ")
    assert "schema" in complete("towpath demo --sabotage sch")
