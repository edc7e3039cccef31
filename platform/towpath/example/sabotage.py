"""Ways to damage the example, each with the gate that must refuse it: what an accident or a hand would leave."""

from __future__ import annotations

import csv
import sqlite3
import stat
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from towpath.core.errors import NotFound
from towpath.core.gates import Stage

_LAST_MONTH = "landing/flights/2013-05.csv"


class Moment(StrEnum):
    """When the damage is done."""

    PROJECT = "project"  # to the project's files, before the path is gone
    STAGE = "stage"  # to what is stored, after a stage
    LEDGER = "ledger"  # to the ledger, before a promotion
    ROLLOUT = "rollout"  # to a project whose candidate passes the path, and then takes traffic
    APPROVAL = "approval"  # by whoever submitted a candidate, when it is to be approved


@dataclass(frozen=True, kw_only=True)
class Sabotage:
    """One kind of damage: what it does, the gate that refuses it, and the stage at which that happens.

    `damage` is given the project folder, the object store's folder or file, or the ledger's file, as `moment` says.
    `traffic` is done to every live request (its number, its columns) of a sabotage whose moment is ROLLOUT.
    """

    name: str
    about: str
    gate: str
    stage: Stage
    moment: Moment
    damage: Callable[[Path], None]
    after: Stage | None = None
    needs_champion: bool = False
    traffic: Callable[[int, dict[str, Any]], dict[str, Any]] = lambda _, columns: columns


def _schema(project: Path) -> None:
    for file in sorted((project / "landing/flights").glob("*.csv")):
        header, rest = file.read_text(encoding="utf-8").split("\n", maxsplit=1)
        file.write_text(header.replace("dep_delay", "departure_delay") + "\n" + rest, encoding="utf-8")


def _values(project: Path) -> None:
    def impossible(number: int, row: dict[str, str]) -> dict[str, str]:
        return {**row, "dep_time": "2761"} if number % 90 == 0 and row["dep_time"] else row

    _rewrite(project / _LAST_MONTH, impossible)


def _stale(project: Path) -> None:
    for file in sorted((project / "landing/flights").glob("*.csv")):
        if file.name >= Path(_LAST_MONTH).name:
            file.unlink()


def _duplicate_keys(project: Path) -> None:
    file = project / _LAST_MONTH
    lines = file.read_text(encoding="utf-8").splitlines()
    file.write_text("\n".join([*lines, *lines[1:2001]]) + "\n", encoding="utf-8")


def _leakage(project: Path) -> None:
    _replace(
        project / "feature_repo/transforms/spine.sql",
        "    CAST(distance AS DOUBLE) AS distance,",
        "    CAST(distance AS DOUBLE) AS distance,\n    CAST(arr_delay AS DOUBLE) AS minutes_gained,",
    )
    _replace(project / "charter.yaml", "distance, scheduled_minutes]", "distance, scheduled_minutes, minutes_gained]")


def _future_features(project: Path) -> None:
    _replace(
        project / "feature_repo/transforms/features/carrier_delays.sql",
        "epoch_us(landed_at) //",
        "epoch_us(scheduled_at) //",
    )


def _worse_model(project: Path) -> None:
    file = project / "charter.yaml"
    text = file.read_text(encoding="utf-8")
    begin, end = text.index("  sweep:"), text.index("\ngates:")
    weak = "  sweep:\n    - {max_iter: 2, learning_rate: 0.05, max_leaf_nodes: 3}\n"
    file.write_text(text[:begin] + weak + text[end:], encoding="utf-8")


def _another_purpose(project: Path) -> None:
    """Nothing that a gate looks at, so that there is one candidate more that every gate lets pass."""
    _replace(project / "charter.yaml", "whether it will arrive", "if it will arrive")


def _bad_challenger(project: Path) -> None:
    """A weak model, and bounds so loose that every gate lets it pass: what remains is the canary."""
    _worse_model(project)
    charter = project / "charter.yaml"
    for old, new in (
        ("rocAuc: 0.90", "rocAuc: 0.5"),
        ("logLoss: 0.35", "logLoss: 5"),
        ("calibration: 0.05", "calibration: 1"),
        ("baselineLogLossGain: 0.15", "baselineLogLossGain: 0"),
        ("rocAucMargin: 0.01, logLossMargin: 0.01", "rocAucMargin: 1, logLossMargin: 10"),
        ("rocAuc: 0.87", "rocAuc: 0"),
        ("rocAuc: 0.82", "rocAuc: 0"),
        ("rocAuc: 0.79", "rocAuc: 0"),
    ):
        _replace(charter, old, new)


def _slow_challenger(project: Path) -> None:
    """A step that no compiler knows, so that scikit-learn itself must answer, in milliseconds and not microseconds."""
    file = project / "train.py"
    _replace(
        file,
        "from sklearn.pipeline import Pipeline\n",
        "from sklearn.kernel_approximation import RBFSampler\nfrom sklearn.pipeline import Pipeline\n",
    )
    _replace(
        file,
        '("numbers", as_floats, numbers)]',
        '("numbers", as_floats, numbers), ("waves", RBFSampler(n_components=8, random_state=seed), ["distance"])]',
    )


def _crashing_challenger(project: Path) -> None:
    """An encoder that raises on a carrier that it was not trained on."""
    file = project / "train.py"
    _replace(
        file,
        '[("categories", encoder, categories), ',
        '[("carrier", OrdinalEncoder(handle_unknown="error", dtype=np.float64), ["carrier"]), '
        '("categories", encoder, [name for name in categories if name != "carrier"]), ',
    )


def _new_carrier(number: int, columns: dict[str, Any]) -> dict[str, Any]:
    """Every twentieth flight is one of an airline that nobody has heard of."""
    return {**columns, "carrier": "ZZ"} if number % 20 == 0 else columns


def _flip_byte(file: Path) -> None:
    """Change one byte in the middle of a file, as a bad disk or a hand would."""
    file.chmod(stat.S_IRUSR | stat.S_IWUSR)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0xFF
    file.write_bytes(data)


def _edit_ledger(file: Path) -> None:
    """Let the evaluation stand on ten times the rows, past the database's own triggers."""
    with sqlite3.connect(file) as database:
        triggers = database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for (name,) in triggers:
            database.execute(f'DROP TRIGGER "{name}"')
        (table,) = database.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE '%previous%' AND sql LIKE '%body%'"
        ).fetchone()
        (sequence, body) = database.execute(
            f"SELECT sequence, body FROM \"{table}\" WHERE stage = 'evaluate' ORDER BY sequence LIMIT 1"
        ).fetchone()
        edited = body.replace('"sample_size":2', '"sample_size":22', 1)
        if edited == body:
            raise NotFound("The recorded evaluation holds no figure that this sabotage edits.", value=str(sequence))
        database.execute(f'UPDATE "{table}" SET body = ? WHERE sequence = ?', (edited, sequence))


def _rewrite(file: Path, change: Callable[[int, dict[str, str]], dict[str, str]]) -> None:
    with file.open(encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream)
        rows = [change(number, row) for number, row in enumerate(reader)]
        names = list(reader.fieldnames or [])
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _replace(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    if old not in text:
        raise NotFound(
            f"{file} no longer holds {old!r}.", value=str(file), hint="Delete the demo's folder and start again."
        )
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


SABOTAGES: dict[str, Sabotage] = {
    item.name: item
    for item in (
        Sabotage(
            name="schema",
            about="the producer renames dep_delay to departure_delay",
            gate="data.schema",
            stage=Stage.VALIDATE,
            moment=Moment.PROJECT,
            damage=_schema,
        ),
        Sabotage(
            name="values",
            about="every ninetieth flight of May leaves at 27:61",
            gate="data.range",
            stage=Stage.VALIDATE,
            moment=Moment.PROJECT,
            damage=_values,
        ),
        Sabotage(
            name="stale",
            about="the flights of May never arrive",
            gate="data.freshness",
            stage=Stage.VALIDATE,
            moment=Moment.PROJECT,
            damage=_stale,
        ),
        Sabotage(
            name="duplicate-keys",
            about="2,000 flights of May are delivered twice",
            gate="data.unique",
            stage=Stage.VALIDATE,
            moment=Moment.PROJECT,
            damage=_duplicate_keys,
        ),
        Sabotage(
            name="leakage",
            about="the arrival delay is smuggled in as a feature called minutes_gained",
            gate="leakage.target_proxy",
            stage=Stage.EVALUATE,
            moment=Moment.PROJECT,
            damage=_leakage,
        ),
        Sabotage(
            name="future-features",
            about="carriers' delays are dated by scheduled departure, before the flights have landed",
            gate="features.known_later",
            stage=Stage.FEATURIZE,
            moment=Moment.PROJECT,
            damage=_future_features,
        ),
        Sabotage(
            name="worse-model",
            about="two shallow trees instead of the champion's hundreds",
            gate="eval.champion",
            stage=Stage.EVALUATE,
            moment=Moment.PROJECT,
            damage=_worse_model,
            needs_champion=True,
        ),
        Sabotage(
            name="tampered-data",
            about="one byte of the stored flights is changed after ingestion",
            gate="integrity.data",
            stage=Stage.VALIDATE,
            moment=Moment.STAGE,
            damage=_flip_byte,
            after=Stage.INGEST,
        ),
        Sabotage(
            name="tampered-model",
            about="one byte of the stored model is changed after evaluation",
            gate="integrity.model",
            stage=Stage.REGISTER,
            moment=Moment.STAGE,
            damage=_flip_byte,
            after=Stage.EVALUATE,
        ),
        Sabotage(
            name="tampered-ledger",
            about="a recorded figure is edited in the ledger's database, past its triggers",
            gate="integrity.ledger",
            stage=Stage.PROMOTE,
            moment=Moment.LEDGER,
            damage=_edit_ledger,
        ),
        Sabotage(
            name="bad-challenger",
            about="two shallow trees, and bounds so loose that every gate passes them; the canary alone is left",
            gate="rollout.harm",
            stage=Stage.CANARY,
            moment=Moment.ROLLOUT,
            damage=_bad_challenger,
            needs_champion=True,
        ),
        Sabotage(
            name="slow-challenger",
            about="a step that no compiler knows, so that each answer takes milliseconds",
            gate="rollout.harm",
            stage=Stage.CANARY,
            moment=Moment.ROLLOUT,
            damage=_slow_challenger,
            needs_champion=True,
        ),
        Sabotage(
            name="crashing-challenger",
            about="an encoder that raises on new carriers, and live traffic in which one appears",
            gate="rollout.harm",
            stage=Stage.CANARY,
            moment=Moment.ROLLOUT,
            damage=_crashing_challenger,
            needs_champion=True,
            traffic=_new_carrier,
        ),
        Sabotage(
            name="self-approval",
            about="the data scientist approves her own candidate, with a second account that may",
            gate="promote.approvals",
            stage=Stage.PROMOTE,
            moment=Moment.APPROVAL,
            damage=_another_purpose,
        ),
    )
}
