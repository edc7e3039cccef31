"""Tables that nobody would choose: what `towpath init` makes of them passes untouched too."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from cli.conftest import Cli
from init import tables
from towpath.core.draft_names import RESERVED, identifiers

ROWS = 400


def odd() -> pd.DataFrame:
    """Every oddity at once: emoji, quotes, line breaks, words of SQL and templates, mixed types."""
    draw = np.random.default_rng(3)
    price = draw.normal(size=ROWS)
    texts = ["a'b", 'c"d', "e\nf", "ü💥", "null", "; DROP TABLE x --", "{{ 7 * 7 }}", "${HOME}"]
    every_7_hours = pd.date_range("2020-01-01", periods=ROWS, freq="7h")
    return pd.DataFrame(
        {
            "💰 price (€) ": price.round(4),
            "select": draw.normal(size=ROWS).round(3),
            "a:b %(c)s # {{ x }}": draw.integers(0, 9, ROWS),
            "it's {x} \\ ~": draw.choice(texts, ROWS),
            "日本語": draw.choice(["東京", "大阪", ""], ROWS),
            "mixed": [["12", "n/a", "3.5", "-7e2"][place % 4] for place in range(ROWS)],
            "mojibake": draw.choice(["GrÃ¶ÃŸe", "caf\ufffd", "ok"], ROWS),
            "zip": [f"{place % 90:05d}" for place in range(ROWS)],
            "constant": "x",
            "empty": None,
            "infinite": np.where(draw.random(ROWS) < 0.05, np.inf, draw.normal(size=ROWS)),
            "event_timestamp": draw.normal(size=ROWS),
            "row_id": draw.normal(size=ROWS),
            "line\nbreak": draw.normal(size=ROWS),
            "big": [10**25 + int(one) for one in draw.integers(0, 9, ROWS)],
            "time": every_7_hours.strftime("%H:%M:%S"),
            "when": every_7_hours.strftime("%Y-%m-%d %H:%M:%S"),
            "Y": np.where(draw.random(ROWS) < 1 / (1 + np.exp(-2 * price)), "Да 👍", "Нет"),
        }
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_oddities_pass(cli: Cli, place: Path) -> None:
    tables.write(odd(), place / "order.csv")  # a word of SQL, too
    drafted = cli("init", "odd", "--data", "order.csv", "--target", "Y", "--json")
    assert drafted.code == 0, drafted.err
    roles = {column["column"]: column["role"] for column in drafted.json["columns"]}
    assert [roles[name] for name in ("mixed", "zip", "constant", "empty", "big", "time")] == [
        "mixed",
        "left out",
        "left out",
        "left out",
        "category",
        "moment",
    ]
    ran = cli("run", "odd", "--json")
    assert ran.code == 0, ran.json["refused"]
    assert ran.json["stages"][-1]["stage"] == "register"


def test_names_are_identifiers_and_no_two_the_same() -> None:
    headers = [
        "💰",
        "Größe (cm)",
        "groe_cm",
        "GROE CM",
        "2024",
        "row_id",
        "event_timestamp",
        "a" * 200,
        "日本",
        "",
        "\n",
    ]
    found = identifiers(headers)
    assert list(found) == headers
    assert len(set(found.values())) == len(headers)
    assert not RESERVED & set(found.values())
    assert all(name.isidentifier() and name.isascii() and len(name) <= 63 for name in found.values())
    assert found["Größe (cm)"] == "groe_cm"


@pytest.mark.slow
def test_a_target_in_disguise_is_left_out(cli: Cli, place: Path) -> None:
    frame = odd()[["select", "row_id", "Y"]].assign(copy=lambda table: (table["Y"] == "Нет") * 3.5 + 1)
    tables.write(frame, place / "people.csv")
    drafted = cli("init", "mine", "--data", "people.csv", "--target", "Y", "--json")
    assert drafted.code == 0, drafted.err
    assert drafted.json["warnings"][0].startswith("copy is left out: alone it ranks the target with ROC AUC 1.0000")
    assert "copy" not in (place / "mine/feature_repo/transforms/spine.sql").read_text(encoding="utf-8")


@pytest.mark.slow
def test_noise_is_refused_for_being_noise(cli: Cli, place: Path) -> None:
    draw = np.random.default_rng(5)
    tables.write(
        pd.DataFrame({"a": draw.normal(size=ROWS), "b": draw.normal(size=ROWS), "y": draw.integers(0, 2, ROWS)}),
        place / "noise.csv",
    )
    drafted = cli("init", "noise", "--data", "noise.csv", "--target", "y", "--json")
    assert "towpath run` will refuse it (eval.baseline)" in drafted.json["warnings"][0]
    ran = cli("run", "noise", "--json")
    assert ran.code == 3
    assert "eval.baseline" in {finding["code"] for finding in ran.json["refused"]}


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.timeout(1800)
def test_a_gigabyte_is_drafted_in_bounded_memory(place: Path) -> None:
    file = place / "tall.csv"
    columns = ", ".join(f"round(random() * 1000, 4) AS n{place}" for place in range(9))
    with duckdb.connect() as database:
        made = f"SELECT i AS id, {columns}, ['a', 'b', 'c'][1 + i % 3] AS kind FROM range(11000000) AS rows_(i)"
        query = f"SELECT *, n0 + random() * 400 > 700 AS y FROM ({made})"
        database.execute(f"COPY ({query}) TO '{file}' (HEADER)")
    assert file.stat().st_size > 1_000_000_000
    done = subprocess.run(
        [sys.executable, "-m", "towpath.cli", "init", "tall", "--data", file.name, "--target", "y", "--key", "id"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "one in 27 is trained on" in done.stdout
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    assert peak < 3_000_000_000, f"{peak / 1e9:.1f} GB"
