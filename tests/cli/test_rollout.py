"""towpath rollout and towpath rollback, over a real ledger and a prediction log that a gateway shipped."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import Cli
from rollout import house
from rollout.house import PROJECT
from rollout.traffic import Gateway
from towpath import wiring
from towpath.cli import rollout_follower
from towpath.cli.rollout_opening import open_canary
from towpath.cli.rollout_shown import sequence
from towpath.core.evidence import Candidate
from towpath.core.looks import MetricStatus
from towpath.core.rollout import Rollout
from towpath.settings import Settings
from towpath.stages.canary import CanaryPorts
from towpath.stages.canary_start import contender

REASON = ("--by", "ada", "--reason", "a newer model")
DECLARED = house.ROLLOUT.replace("duration: 24h", "duration: 0s")


@dataclass(frozen=True, kw_only=True)
class Place:
    """A working directory with a project, a champion, a challenger, and a gateway that has served the champion."""

    folder: Path
    ports: CanaryPorts
    champion: Candidate
    challenger: Candidate
    gateway: Gateway

    @property
    def row(self) -> Rollout:
        return self.ports.rollouts.history(PROJECT)[0]

    def serve(self, requests: int = 200, **kwargs: Any) -> None:
        """Requests of now, as a gateway would answer them that knows the committed row."""
        self.gateway.serve(requests, wiring.now() - timedelta(seconds=1), self.ports.rollouts.open(PROJECT), **kwargs)


@pytest.fixture
def home(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    settings = Settings.read(os.environ, folder=place)
    charter = house.project(place / "project", rollout=DECLARED).charter
    monkeypatch.chdir(place / "project")
    monkeypatch.setenv("TOWPATH_STATE", str(place / "state"))
    monkeypatch.setattr(rollout_follower, "FINISH_SECONDS", 0.1)
    ports = open_canary(settings)
    try:
        champion = house.registered(ports.ledger, 1, charter=charter)
        house.crowned(ports.ledger, champion)
        yield Place(
            folder=place,
            ports=ports,
            champion=champion,
            challenger=house.registered(ports.ledger, 2, charter=charter),
            gateway=Gateway(settings, place, PROJECT, contender(champion)),
        )
    finally:
        ports.close()


def run(cli: Cli, *, times: int = 1) -> Any:
    """Tick until nothing moves, with a controller that is interrupted after it; returns what it said."""
    from towpath.cli import opening
    from towpath.stages.canary import tick_once

    ticked = None
    with closing(open_canary(opening.settings())) as ports:
        for _ in range(times):
            ticked = tick_once(ports, PROJECT, wiring.now())
    return ticked


def started(cli: Cli, home: Place) -> None:
    ran = cli("rollout", "start", home.challenger.id, *REASON, "--json")
    assert ran.code == 0, ran.out + ran.err


def progressing(cli: Cli, home: Place) -> None:
    started(cli, home)
    run(cli)
    home.serve()
    run(cli)
    assert (home.row.phase, home.row.weight) == ("progressing", 500)


def test_a_direct_promotion_is_denied_once_there_is_a_champion(cli: Cli, home: Place) -> None:
    ran = cli("promote", home.challenger.id, *REASON, "--json")
    assert ran.code == 3
    assert f"towpath rollout start {home.challenger.id}" in ran.json["error"]["hint"]


def test_a_start_prints_the_plan_and_a_second_is_denied(cli: Cli, home: Place) -> None:
    home.serve(2_000)
    ran = cli("rollout", "start", home.challenger.id[-12:], *REASON)
    assert ran.code == 0, ran.err
    assert f"visits-r1 is started: {home.challenger.id} challenges {home.champion.id}." in ran.out
    assert "promotion" in ran.out
    assert cli("rollout", "start", home.challenger.id, *REASON, "--json").code == 3
    assert home.row.started_by == "ada"


def test_a_start_without_a_log_says_that_nothing_was_planned(cli: Cli, home: Place) -> None:
    ran = cli("rollout", "start", home.challenger.id, *REASON)
    assert "was not planned" in ran.out
    ran = cli("rollout", "start", home.challenger.id, *REASON, "--threshold", "latency", "--json")
    assert (ran.code, ran.json["error"]["code"]) == (2, "bad_input")


def test_a_good_challenger_is_promoted_by_the_controller(cli: Cli, home: Place) -> None:
    progressing(cli, home)
    for _ in range(12):
        home.serve(4_000)
        run(cli)
        if home.row.phase == "promoting":
            break
    assert home.row.phase == "promoting"
    document = cli("rollout", "status", "--json").json
    assert document["evidence"]["promotable"]
    ran = cli("rollout", "run", "--interval", "0.1", "--until-end", "--json")
    assert ran.code == 0, ran.err
    assert [one["to_state"] for one in ran.json["decisions"]] == ["baking", "succeeded"]
    assert ran.json["rollout"]["weight"] == 10_000
    found = cli("status", "--json").json["candidates"]
    assert [item["candidate"] for item in found if item["champion"]] == [home.challenger.id]
    ran = cli("rollout", "replay", "--json")
    assert (ran.code, ran.json["same"], len(ran.json["decisions"])) == (0, True, 8)
    assert cli("ledger", "verify").code == 0


def test_a_bad_challenger_is_rolled_back_and_explained(cli: Cli, home: Place) -> None:
    progressing(cli, home)
    home.serve(1_000, worse=lambda number: number % 3 == 0)
    run(cli, times=2)
    assert home.row.phase == "rolled-back"
    ran = cli("rollout", "explain")
    assert "visits-r1 is rolled-back" in ran.out
    decided = cli("rollout", "status", "--json").json["decisions"]
    assert [one["reason_code"] for one in decided[-2:]] == ["harm", "withdrawn"]
    assert cli("rollout", "replay").code == 0


def test_status_draws_weights_evidence_and_sequences(cli: Cli, home: Place) -> None:
    progressing(cli, home)
    home.serve(2_000)
    ran = cli("rollout", "status")
    assert ran.code == 0
    for part in ("visits-r1 progressing", "5 %", "100 units", "░", "●", "┊", "step_up", home.challenger.id):
        assert part in ran.out, part
    document = cli("rollout", "status", "--json").json
    assert document["units"] > 50
    assert document["evidence"]["metrics"][0]["name"] == "errors"
    assert "salt" not in document["rollout"]


def test_status_is_watched_until_the_end(cli: Cli, home: Place) -> None:
    started(cli, home)
    cli("rollout", "abort", *REASON)
    ran = cli("rollout", "status", "--watch", "--interval", "0.2")
    assert ran.code == 0
    assert "aborted" in ran.out
    assert cli("rollout", "status", "--watch", "--json").code == 2


def test_explain_says_what_it_waits_for(cli: Cli, home: Place) -> None:
    started(cli, home)
    assert "It waits for a controller: `towpath rollout run`." in cli("rollout", "explain").out
    run(cli)
    assert "No gateway says that it holds both models." in cli("rollout", "explain").out
    home.serve()
    run(cli)
    says = cli("rollout", "explain", "--json").json["says"]
    assert says[0].startswith("visits-r1 is in step 1 of 3")
    assert any("of the 100 units that this step asks for" in line for line in says)
    assert says[-1] == "A person can order: pause, promote, rollback, abort."


def test_orders_are_carried_out_and_refused(cli: Cli, home: Place) -> None:
    progressing(cli, home)
    assert "visits-r1 is held" in cli("rollout", "pause", *REASON).out
    assert any("A person paused it" in line for line in cli("rollout", "explain", "--json").json["says"])
    ran = cli("rollout", "pause", *REASON, "--json")
    assert ran.code == 3
    assert ran.json["error"]["valid"] == ["resume", "promote", "rollback", "abort"]
    assert cli("rollout", "resume", *REASON, "--json").json["to_state"] == "progressing"
    assert cli("rollout", "promote", "--by", "ada", "--reason", "hurry").code == 3
    assert cli("rollout", "promote", "--reason", "the old one is wrong").code == 3, "nobody says who"
    assert cli("rollout", "promote", *REASON, "--json").json["verdict"] == "promote"
    ran = cli("rollout", "rollback", *REASON)
    assert "the challenger answers 0 % of units" in ran.out
    run(cli)
    assert home.row.phase == "rolled-back"
    assert cli("rollout", "abort", *REASON, "--json").code == 2
    assert cli("rollout", "replay").code == 0


def test_a_decision_that_comes_out_differently_ends_with_an_exit_code(cli: Cli, home: Place) -> None:
    progressing(cli, home)
    with closing(sqlite3.connect(home.folder / "state/ledger.db")) as database:
        database.execute("DROP TRIGGER towpath_records_update")
        database.execute(
            """UPDATE towpath_records SET body = json_set(body, '$.verdict', 'hold')
            WHERE sequence = (SELECT max(sequence) FROM towpath_records)"""
        )
        database.commit()
    ran = cli("rollout", "replay", "--json")
    assert (ran.code, ran.json["same"]) == (4, False)
    assert "verdict is recorded as 'hold' and comes out as 'step_up'" in ran.json["decisions"][-1]["differences"]
    assert cli("rollout", "replay").code == 4


def test_an_export_is_replayed_without_the_database(
    cli: Cli, home: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    progressing(cli, home)
    export = home.folder / "ledger.jsonl"
    assert cli("ledger", "export", str(export)).code == 0
    monkeypatch.setenv("TOWPATH_STATE", str(tmp_path / "elsewhere"))
    ran = cli("rollout", "replay", "--file", str(export), "--json")
    assert (ran.code, ran.json["rollout"], ran.json["same"], len(ran.json["decisions"])) == (0, "visits-r1", True, 3)
    ran = cli("rollout", "replay", "--file", str(export), "--rollout", "visits-r9", "--json")
    assert (ran.code, ran.json["error"]["valid"]) == (2, ["visits-r1"])
    export.write_text(export.read_text(encoding="utf-8").replace("step_up", "hold"), encoding="utf-8")
    assert cli("rollout", "replay", "--file", str(export), "--json").json["error"]["gate"] == "integrity.ledger"


def test_a_row_that_was_not_decided_is_no_replay(cli: Cli, home: Place) -> None:
    progressing(cli, home)
    with closing(sqlite3.connect(home.folder / "state/ledger.db")) as database:
        database.execute(
            """UPDATE towpath_rollouts SET generation = generation + 1,
            body = json_set(body, '$.weight', 9900, '$.generation', generation + 1)"""
        )
        database.commit()
    assert cli("rollout", "replay", "--json").json["error"]["gate"] == "integrity.ledger"


def test_a_rollback_needs_no_mlflow(cli: Cli, home: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    second = house.registered(home.ports.ledger, 12)
    house.crowned(home.ports.ledger, second)
    ran = cli("rollback", *REASON, "--json")
    assert ran.code == 0, ran.out + ran.err
    assert (ran.json["champion"], ran.json["before"]) == (home.champion.id, second.id)
    assert ran.json["mlflow"] != "shown", "no version was ever registered there"
    assert "is the champion again" in cli("rollback", "--to", second.id, *REASON).out
    assert cli("rollback", "--to", home.challenger.id, *REASON, "--json").code == 3


def test_without_a_rollout_there_is_none_to_show(cli: Cli, home: Place) -> None:
    ran = cli("rollout", "status", "--json")
    assert (ran.code, ran.json["error"]["code"]) == (2, "not_found")
    assert cli("rollout", "pause", *REASON, "--json").code == 2
    assert cli("rollout", "run", "--interval", "0.1", "--until-end", "--json").json["rollout"] is None


def test_the_controller_imports_no_service(cli: Cli, home: Place) -> None:
    progressing(cli, home)
    home.serve(1_000, worse=lambda number: number % 3 == 0)
    code = f"""
import sys
for name in ("mlflow", "feast", "prefect", "evidently", "great_expectations"):
    sys.modules[name] = None  # whoever imports it fails
from towpath.cli import opening
from towpath.cli.rollout_opening import open_canary
from towpath.stages.canary import tick_once
from towpath import wiring
ports = open_canary(opening.settings())
print(tick_once(ports, {PROJECT!r}, wiring.now()).rollout.phase)
"""
    root = str(Path(__file__).parents[2] / "platform")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), root]))}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert ran.stdout.strip() == "rolling-back", ran.stderr


@pytest.mark.parametrize(
    ("interval", "estimate", "expected"),
    [
        ((0.5, 2.0), 1.0, "├──────●──────┤"),
        ((0.001, 1000.0), None, "◄────────────────────┼───┊────────────────►"),
        ((1.2, None), 3.0, "►"),
    ],
)
def test_a_confidence_sequence_is_drawn(
    interval: tuple[float, float | None], estimate: float | None, expected: str
) -> None:
    status = MetricStatus(
        name="errors",
        type="rate",
        share=1.0,
        harm_log_e=0.0,
        harm_bound=3.0,
        harmed=False,
        promotion="inconclusive",
        estimate=estimate,
        interval=interval,
    )
    drawn = sequence(status, 1.5 if estimate is None else None)
    assert len(drawn) == 41
    assert expected[-1] == drawn.rstrip()[-1] or expected in drawn


def test_copies_of_a_log_are_read_again(cli: Cli, home: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that came from elsewhere has the same evidence: nothing is kept outside of it."""
    progressing(cli, home)
    home.serve(2_000)
    first = cli("rollout", "status", "--json").json["evidence"]
    shutil.copytree(home.folder / "state", home.folder / "copy")
    monkeypatch.setenv("TOWPATH_STATE", str(home.folder / "copy"))
    again = cli("rollout", "status", "--json").json["evidence"]
    assert json.dumps(first) == json.dumps(again)
