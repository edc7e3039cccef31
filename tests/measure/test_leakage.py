"""Each kind of leakage planted and found by name; clean data passes."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from towpath.core.errors import BadInput
from towpath.core.evidence import Finding, Outcome
from towpath.measure.leakage import future_feature, overlap
from towpath.measure.proxy import strengths, target_proxy
from towpath.measure.skew import skew

PASS, FAIL, UNSURE = Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE
BOUND = 0.97


def only(findings: tuple[Finding, ...]) -> Finding:
    (found,) = findings
    return found


def honest(rows: int = 2_000) -> tuple[pd.DataFrame, np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Inputs that say something of the target, but none of them all."""
    generator = np.random.default_rng(3)
    delay = generator.normal(size=rows)
    target = (generator.random(rows) < 1 / (1 + np.exp(1 - 1.5 * delay))).astype(np.int64)
    inputs = pd.DataFrame(
        {
            "delay": np.where(generator.random(rows) < 0.05, np.nan, delay),
            "carrier": generator.choice(["UA", "DL", None], rows),
            "tail": [f"N{number}" for number in generator.integers(0, rows // 2, rows)],
            "flag": generator.random(rows) < 0.5,
            "nothing": None,
            "constant": 1,
        }
    )
    return inputs, target


def test_honest_inputs_pass_and_the_strongest_is_named() -> None:
    inputs, target = honest()
    found = only(target_proxy(inputs, target, bound=BOUND, source="holdout"))
    assert found.outcome is PASS
    assert "delay" in found.reason
    assert 0.7 < float(str(found.measured)) < 0.9


def test_noise_columns_are_near_a_half_even_with_rare_values() -> None:
    inputs, target = honest()
    alone = {item.column: item.value for item in strengths(inputs, target)}
    assert set(alone) == {"delay", "carrier", "tail", "flag"}
    assert all(0.45 < alone[name] < 0.57 for name in ("carrier", "tail", "flag")), alone


@pytest.mark.parametrize("kind", ["number", "upside down", "middle", "words", "category", "missing", "decimal", "time"])
def test_the_target_in_disguise_is_found_in_any_clothes(kind: str) -> None:
    inputs, target = honest()
    noise = np.random.default_rng(4).normal(0, 0.1, len(target))
    disguises: dict[str, object] = {
        "number": target + noise,
        "upside down": -(target + noise),
        "middle": np.where(target == 1, noise, np.sign(noise) * (2 + np.abs(noise))),
        "words": np.where(target == 1, "late", "on time"),
        "category": pd.Categorical(np.where(target == 1, "late", "on time")),
        "missing": np.where(target == 1, np.nan, noise),
        "decimal": [Decimal(int(value)) for value in target],
        "time": pd.to_datetime((target + noise) * 1e15, utc=True),
    }
    found = only(target_proxy(inputs.assign(arr_delay=disguises[kind]), target, bound=BOUND, source="holdout"))
    assert (found.outcome, found.subject) == (FAIL, "arr_delay")
    assert "arr_delay" in found.reason


def test_every_offending_column_has_its_finding() -> None:
    inputs, target = honest()
    found = target_proxy(inputs.assign(one=target, two=1 - target), target, bound=BOUND, source="holdout")
    assert {(item.outcome, item.subject) for item in found} == {(FAIL, "one"), (FAIL, "two")}


def test_nothing_to_judge_is_inconclusive_and_misuse_refused() -> None:
    _, target = honest()
    assert (
        only(target_proxy(pd.DataFrame({"one": [1] * len(target)}), target, bound=BOUND, source="holdout")).outcome
        is UNSURE
    )
    with pytest.raises(BadInput, match="must hold 0 and 1"):
        target_proxy(pd.DataFrame({"one": [1, 2]}), [1, 1], bound=BOUND, source="holdout")
    with pytest.raises(BadInput, match="3 labels for 2 rows"):
        target_proxy(pd.DataFrame({"one": [1, 2]}), [1, 0, 1], bound=BOUND, source="holdout")


def hours(start: str, periods: int, step: str = "h") -> pd.DatetimeIndex:
    """UTC instants from a start on; adding a Timedelta warns with these versions of pandas and NumPy."""
    return pd.date_range(start, periods=periods, freq=step, tz="UTC")


def joined() -> pd.DataFrame:
    """Two views, each row stamped an hour and created half an hour before its prediction time; one row not joined."""
    rows = pd.DataFrame({"event_timestamp": hours("2013-03-01 12:00", 50)})
    for view in ("weather", "rates"):
        rows[f"{view}__event_timestamp"] = hours("2013-03-01 11:00", 50)
        rows[f"{view}__created_timestamp"] = hours("2013-03-01 11:30", 50)
    rows.loc[3, ["weather__event_timestamp", "weather__created_timestamp"]] = pd.NaT
    return rows


def test_features_known_in_time_pass() -> None:
    found = only(future_feature(joined()))
    assert found.outcome is PASS
    assert "rates, weather" in found.reason


def test_a_stamp_at_the_prediction_time_is_not_later() -> None:
    rows = joined()
    rows["rates__event_timestamp"] = rows["rates__created_timestamp"] = rows["event_timestamp"]
    assert only(future_feature(rows)).outcome is PASS


@pytest.mark.parametrize(("stamp", "says"), [("event", "stamped"), ("created", "created")])
def test_a_feature_from_the_future_is_found_with_its_lead(stamp: str, says: str) -> None:
    rows = joined()
    rows.loc[[5, 6], f"weather__{stamp}_timestamp"] = hours("2013-03-01 19:00", 2)
    found = only(future_feature(rows))
    assert (found.outcome, found.subject, found.measured) == (FAIL, "weather", 2)
    assert f"{says} up to 0 days 02:00:00 later" in found.reason


def test_zones_are_compared_as_instants() -> None:
    rows = joined()
    rows["rates__event_timestamp"] = rows["rates__event_timestamp"].dt.tz_convert("America/New_York")
    rows["event_timestamp"] = rows["event_timestamp"].dt.tz_localize(None)
    assert only(future_feature(rows)).outcome is PASS


def test_features_without_stamps_are_inconclusive() -> None:
    assert (
        only(future_feature(pd.DataFrame({"event_timestamp": [pd.Timestamp("2013-01-01")], "delay": [1.0]}))).outcome
        is UNSURE
    )
    assert only(future_feature(joined().drop(columns="rates__created_timestamp"))).subject == "rates"
    rows = joined()
    rows.loc[9, "rates__created_timestamp"] = pd.NaT
    assert "1 row joined without saying when created" in only(future_feature(rows)).reason
    rows = joined().assign(rates__event_timestamp=pd.NaT, rates__created_timestamp=pd.NaT)
    assert only(future_feature(rows)).outcome is UNSURE
    with pytest.raises(BadInput, match="no column 'event_timestamp'"):
        future_feature(joined().drop(columns="event_timestamp"))


def split() -> tuple[pd.DataFrame, pd.DataFrame]:
    times, known = hours("2013-03-01", 100, "D"), hours("2013-03-01 06:00", 100, "D")
    rows = pd.DataFrame({"id": range(100), "event_timestamp": times, "label_timestamp": known})
    return rows.iloc[:70].copy(), rows.iloc[70:].copy()


def check(train: pd.DataFrame, holdout: pd.DataFrame) -> tuple[Finding, ...]:
    return overlap(train, holdout, row_id="id")


def test_a_split_by_time_passes() -> None:
    found = only(check(*split()))
    assert found.outcome is PASS
    assert "70 rows of training" in found.reason


def test_a_row_on_both_sides_is_found() -> None:
    train, holdout = split()
    holdout.loc[75, "id"] = 5
    found = only(check(train, holdout))
    assert (found.outcome, found.subject, found.measured) == (FAIL, "id", 1)
    assert "for example 5" in found.reason


def test_training_rows_from_the_holdouts_time_are_found() -> None:
    train, holdout = split()
    train.loc[69, "event_timestamp"] = holdout["event_timestamp"].min()
    train.loc[69, "label_timestamp"] = holdout["event_timestamp"].min()
    found = only(check(train, holdout))
    assert (found.outcome, found.subject, found.measured) == (FAIL, "event_timestamp", 1)


def test_a_label_that_became_known_too_late_is_found() -> None:
    train, holdout = split()
    train.loc[69, "label_timestamp"] = pd.Timestamp("2013-05-10 00:00:01", tz="UTC")
    found = only(check(train, holdout))
    assert (found.outcome, found.subject, found.measured) == (FAIL, "label_timestamp", 1)


def test_a_random_split_breaks_every_rule_of_time() -> None:
    rows = pd.concat(split()).sample(frac=1, random_state=1)
    found = check(rows.iloc[:70], rows.iloc[70:])
    assert {item.subject for item in found} == {"event_timestamp", "label_timestamp"}


def test_an_empty_side_is_inconclusive_and_a_missing_column_refused() -> None:
    train, holdout = split()
    assert only(check(train, holdout.iloc[:0])).outcome is UNSURE
    with pytest.raises(BadInput, match="holdout has no column 'id'"):
        check(train, holdout.drop(columns="id"))
    train.loc[0, "label_timestamp"] = pd.NaT
    with pytest.raises(BadInput, match="1 row without 'label_timestamp'"):
        check(train, holdout)


def inputs() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "delay": [1.0, np.nan, 3.5],
            "seats": [100, 200, 300],
            "carrier": ["UA", None, "DL"],
            "late": [True, False, True],
            "at": pd.to_datetime(["2013-01-01", None, "2013-01-03"], utc=True),
        }
    )


def test_the_same_inputs_pass_whatever_their_types() -> None:
    served = pd.DataFrame(
        {
            "at": inputs()["at"],
            "delay": pd.Series([1.0 + 1e-12, None, 3.5], dtype="object"),
            "seats": [Decimal(100), Decimal(200), Decimal(300)],
            "carrier": pd.Categorical(["UA", None, "DL"]),
            "late": [1, 0, 1],
        }
    )
    found = only(skew(inputs(), served))
    assert found.outcome is PASS
    assert "All 5 model inputs" in found.reason


@pytest.mark.parametrize(
    ("column", "values", "share"),
    [
        ("delay", [1.0, np.nan, 3.5001], 1 / 3),
        ("delay", [1.0, 0.0, 3.5], 1 / 3),
        ("delay", [None, None, None], 2 / 3),
        ("seats", ["100", "200", "300"], 1.0),
        ("carrier", ["UA", "", "DL"], 1 / 3),
        ("late", [True, True, True], 1 / 3),
    ],
)
def test_a_column_served_differently_is_named_with_its_share(column: str, values: list[object], share: float) -> None:
    found = only(skew(inputs(), inputs().assign(**{column: values})))
    assert (found.outcome, found.subject) == (FAIL, column)
    assert found.measured == pytest.approx(share, abs=1e-6)
    assert "as served" in found.reason


def test_a_column_on_one_side_only_is_named() -> None:
    found = only(skew(inputs(), inputs().drop(columns="seats")))
    assert (found.outcome, found.subject) == (FAIL, "seats")
    assert only(skew(inputs().drop(columns="seats"), inputs())).subject == "seats"


def test_no_rows_are_inconclusive_and_other_rows_refused() -> None:
    assert only(skew(inputs().iloc[:0], inputs().iloc[:0])).outcome is UNSURE
    with pytest.raises(BadInput, match="3 rows offline, 2 rows as served"):
        skew(inputs(), inputs().iloc[:2])
