"""Multiclass challengers earn their traffic, or lose it: wines of three growers, a real gateway and its own log.

Who is asked is made up, and every row is a wine of the holdout; the label is its grower. One challenger is fitted a
little otherwise than the champion. The other is hardly fitted at all: the charter's bounds are wide enough to register
it, and what comes true of its answers takes it back.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml

from gateway import served
from gateway.served import Built, House, Served
from path import small
from tasks import tables
from tasks.test_multiclass_path import FIT, GATES_OF, GROWERS, table
from towpath import wiring
from towpath.cli import run as towpath
from towpath.cli.rollout_opening import open_canary
from towpath.core.assignment import bucket
from towpath.core.evidence import Candidate
from towpath.core.gates import Stage
from towpath.core.identity import claimed
from towpath.core.judge_holds import prediction_distance
from towpath.core.looks import Arm
from towpath.core.rollout import Phase, Rollout
from towpath.stages.canary import CanaryPorts, decisions, replayed, tick_once
from towpath.stages.work import champion

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:::mlflow")]

ROLLOUT: dict[str, Any] = {
    "unit": "subject",
    "shadow": {"percent": 100, "minUnits": 30},
    "steps": [
        {"weight": 30, "until": {"minUnits": 30}},
        {"weight": 50, "until": {"promotion": True, "maxDuration": "14d"}},
    ],
    "guardrails": [
        {"name": "errors", "type": "rate", "event": "error", "share": 0.2},
        {"name": "latency", "type": "exceedance", "of": "latency_ms", "threshold": 5000, "share": 0.1},
        {"name": "loss", "type": "mean", "of": "log_loss", "cap": "championP99", "labels": "delayed", "share": 0.4},
        {"name": "brier", "type": "mean", "of": "brier", "cap": 2, "labels": "delayed", "share": 0.3},
    ],
    "promotion": [
        {"metric": "loss", "nonInferior": {"absolute": 0.1}, "minLabelCoverage": 0.9},
        {"metric": "brier", "nonInferior": {"absolute": 0.1}, "minLabelCoverage": 0.9},
    ],
    "bake": {"duration": "1s", "holdback": 5},
}
WIDE = GATES_OF | {
    "logLoss": 2,
    "rocAuc": 0.5,
    "calibration": 1,
    "champion": {"rocAucMargin": 1, "logLossMargin": 2},
    "slices": [{"by": "strong", "minRows": 20, "logLoss": 2}],
}
GOOD, HARMFUL = 0.7, 0.0005
ROWS = 40  # of one request, which both arms answer a part of
DEADLINE = 120.0


@dataclass(frozen=True, kw_only=True)
class Made:
    """The champion, two challengers, and the wines that nobody was fitted on."""

    built: Built
    harmful: Candidate
    wines: tuple[dict[str, Any], ...]
    growers: tuple[str, ...]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("wine")
    training = {"task": "multiclass", "sweep": [{"C": 0.5}]}
    request = ["alcohol", "strong"]
    given: dict[str, Any] = {"target": "target", "training": training, "gates": WIDE, "fit": FIT, "request": request}
    project, state = tables.build(folder / "project", table(), **given), folder / "state"
    charter = project / "charter.yaml"
    document = yaml.safe_load(charter.read_text(encoding="utf-8")) | {"rollout": ROLLOUT}
    charter.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    found = []
    for strength in (0.5, GOOD, HARMFUL):  # of the fit, in its code: a charter that is edited later starts nothing
        (project / "train.py").write_text(FIT.replace("**params", f"C={strength}"), encoding="utf-8")
        with small.opened(project, state, as_of=tables.AS_OF) as work:
            found.append(small.walk(work))
            if len(found) == 1:
                small.crown(found[0], work)
            holdout = found[0].entry(Stage.FEATURIZE).subject("features", "holdout")
            rows = pd.read_parquet(work.ports.objects.fetch(holdout.digest))
    inputs: Any = found[0].entry(Stage.TRAIN).facts["inputs"]
    return Made(
        built=Built(project=project, state=state, champion=found[0], challenger=found[1]),
        harmful=found[2],
        wines=tuple(rows[inputs].to_dict("records")),
        growers=tuple(rows["target"]),
    )


@dataclass(kw_only=True)
class Traffic:
    """Requests to a gateway, each row by somebody new; what came true of it follows at once."""

    gateway: Served
    made: Made
    asked: int = 0

    def __post_init__(self) -> None:
        self._wines = cycle(zip(self.made.wines, self.made.growers, strict=True))

    def ask(self) -> str:
        """One request of many rows, and its id; a label names its row by the key, or by the request."""
        rows = list(islice(self._wines, ROWS))
        keys = [f"s{self.asked + place}" for place in range(ROWS)]
        name = f"wines-{self.asked}"
        self.asked += ROWS
        asked = [{"subject": key, **wine} for key, (wine, _) in zip(keys, rows, strict=True)]
        sent = {"id": name, **served.tensors(asked)}
        reply = self.gateway.post("/v2/models/table/infer", sent)
        assert reply.status == 200, reply.body
        chances, label = reply.json["outputs"]
        assert (chances["shape"], chances["parameters"]) == ([ROWS, 3], {"classes": GROWERS})
        answered = np.array(chances["data"]).reshape(-1, 3)
        assert [GROWERS[place] for place in answered.argmax(axis=1)] == label["data"]
        labels = [
            {"label": grower, **({"key": key} if place % 2 else {"request": name, "row": place})}
            for place, (key, (_, grower)) in enumerate(zip(keys, rows, strict=True))
        ]
        assert self.gateway.post("/v1/feedback", {"labels": labels}).json == {"accepted": ROWS}
        return name


@pytest.fixture
def house(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    with served.house(made.built, tmp_path) as found:
        monkeypatch.setenv("TOWPATH_STATE", str(found.state))
        yield found


@pytest.fixture
def ports(house: House) -> Iterator[CanaryPorts]:
    found = open_canary(house.settings, identity=claimed("ada"))
    yield found
    found.close()


def rolled(house: House, ports: CanaryPorts, traffic: Traffic, challenger: Candidate) -> Rollout:
    """The rollout from its start, by the command, to its end, by ticks while the gateway is asked."""
    order = ("--project", str(house.project), "--by", "ada", "--reason", "a newer model")
    assert towpath(["rollout", "start", challenger.id, *order]) == 0
    deadline = time.monotonic() + DEADLINE
    while (row := ports.rollouts.history("table")[0]).open:
        assert time.monotonic() < deadline, (row.phase, decisions(ports.ledger, row)[-1][1])
        traffic.ask()
        time.sleep(0.05)
        tick_once(ports, "table", wiring.now())
    return row


def states(ports: CanaryPorts, row: Rollout) -> list[tuple[str, int]]:
    found = decisions(ports.ledger, row)
    assert not any(again.differences for _, again in replayed(ports.ledger.records(), row.rollout_id))
    return [(str(one.to_state), one.weight_after) for _, one in found]


def logged(gateway: Served, kind: str) -> list[dict[str, Any]]:
    """Every row once, whether its file was merged with others or not, or is just being."""
    files = (gateway.state / "predictions" / "table").glob(f"{kind}*/*/*.parquet")
    found = [row for file in sorted(files) for row in pq.ParquetFile(file).read().to_pylist()]
    return list({(one["request"], one["row"], one["key"], one.get("arm")): one for one in found}.values())


def as_logged(gateway: Served, ports: CanaryPorts, row: Rollout) -> None:
    """The evidence is what numpy makes of the rows that were shipped, and assignment is what the hash says."""
    labels = logged(gateway, "labels")
    named = {(one["request"], one["row"]): one["class"] for one in labels if one["request"] is not None}
    keyed = {one["key"]: one["class"] for one in labels if one["request"] is None}
    arms: dict[tuple[int, int, str], list[tuple[np.ndarray[Any, Any], int, str]]] = defaultdict(list)
    shadows = 0
    for one in logged(gateway, "predictions"):
        if one["rollout"] != row.rollout_id:
            continue
        chances = dict(one["probabilities"])
        assert list(chances) == GROWERS
        if one["arm"] == "shadow":
            shadows += 1
            continue
        inside = bucket(bytes.fromhex(row.salt), one["unit"]) < one["weight"]
        assert one["arm"] == ("challenger" if inside else "champion")
        came = named.get((one["request"], one["row"]), keyed.get(one["key"]))
        values = np.array([chances[name] for name in GROWERS])
        if one["weight"]:
            place = (one["step"], one["weight"], one["arm"])
            arms[place].append((values, GROWERS.index(str(came)), one["predicted"]))
    assert shadows >= 30
    look = ports.evidence.look(row)
    found = {
        (stratum.step, stratum.weight, name): getattr(stratum, name)
        for stratum in look.strata
        for name in ("champion", "challenger")
        if getattr(stratum, name).units
    }
    assert found.keys() == arms.keys()
    for place, some in arms.items():
        _same(found[place], some, cap=row.thresholds["loss"])


def _same(arm: Arm, some: Sequence[tuple[np.ndarray[Any, Any], int, str]], *, cap: float) -> None:
    chances, came = np.stack([one for one, _, _ in some]), np.array([one for _, one, _ in some])
    given = np.clip(chances[np.arange(len(some)), came], np.finfo(float).eps, 1 - np.finfo(float).eps)
    loss, brier = np.minimum(-np.log(given), cap), ((chances - np.eye(3)[came]) ** 2).sum(axis=1)
    assert arm.units == len(some)
    for moments, values in ((arm.means["loss"], loss), (arm.means["brier"], brier)):
        nano = [round(float(one) * 1e9) for one in values]
        assert moments.n == len(some)
        assert moments.total == pytest.approx(sum(nano) / 1e9, abs=2e-9 * len(some))
        assert moments.squares == pytest.approx(sum(one**2 for one in nano) / 1e18, abs=1e-7 * len(some))
    counts = [sum(name == one for _, _, name in some) for one in GROWERS]
    assert arm.scores == tuple(counts)


def test_who_does_harm_is_rolled_back_and_who_is_as_good_is_promoted(
    made: Made, house: House, ports: CanaryPorts
) -> None:
    """One gateway lives through both."""
    with served.serving(house) as gateway:
        traffic = Traffic(gateway=gateway, made=made)
        for _ in range(8):
            traffic.ask()
        gateway.until(lambda: len(logged(gateway, "labels")) == traffic.asked)
        lost = rolled(house, ports, traffic, made.harmful)
        gateway.until(lambda: gateway.get("/v2/models/table").json["versions"] == ["1"])
        alone = traffic.ask()
        won = rolled(house, ports, traffic, made.built.challenger)
        gateway.until(lambda: gateway.get("/v2/models/table").json["versions"] == ["2"])
        crowned = traffic.ask()
        gateway.stop()

    assert lost.phase is Phase.ROLLED_BACK
    seen = states(ports, lost)
    assert seen[-2:] == [("rolling-back", 0), ("rolled-back", 0)]
    assert ("promoting", 5_000) not in seen
    judged = decisions(ports.ledger, lost)[-2][1]
    assert {one.name for one in judged.metrics if one.harmed} & {"loss", "brier"}

    assert states(ports, won) == [
        ("pending", 0),
        ("preparing", 0),
        ("shadowing", 0),
        ("progressing", 3_000),
        ("progressing", 5_000),
        ("promoting", 5_000),
        ("baking", 9_500),
        ("succeeded", 10_000),
    ]
    judged = decisions(ports.ledger, won)[5][1]
    asked = {one.name: one.promotion for one in judged.metrics}
    assert asked == {"errors": "none", "latency": "none", "loss": "pass", "brier": "pass"}
    assert judged.holds == ()
    distance = prediction_distance(ports.evidence.look(won).strata)
    assert distance is not None
    assert distance < 0.1
    current = champion(house.ledger, "table")
    assert current is not None
    assert current.candidate.digest == made.built.challenger.digest

    rows = logged(gateway, "predictions")
    for name, version in ((alone, "1"), (crowned, "2")):
        found = {(one["arm"], one["version"], one["rollout"]) for one in rows if one["request"] == name}
        assert found == {("champion", version, None)}
    for row in (lost, won):
        assert row.thresholds["loss"] > 0
        as_logged(gateway, ports, row)
