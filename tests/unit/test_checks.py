"""From contract to checks, to SQL, to findings: pure, but for DuckDB that reads the SQL."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from towpath.core.checks import OF_ROWS, Check, Kind, checks_of
from towpath.core.checks_schema import Found, compare, judge_columns, unasked
from towpath.core.checks_sql import Dialect, Predicates, filled, java_pattern, literal
from towpath.core.checks_verdict import Observed, breach, in_order, judge
from towpath.core.contract import Bound, Limits, LogicalType, Operator, Unit, parse
from towpath.core.evidence import Outcome, Severity
from towpath.core.gates import GATES, Stage
from unit.shop import column, contract, document

NOON = datetime(2024, 6, 3, 12, tzinfo=UTC)
SQL = Predicates(dialect=Dialect.DUCKDB, relations={"t": '"t"', "other": '"other"'})
DUCKDB = duckdb.connect()
DUCKDB.execute("SET TimeZone = 'UTC'; CREATE TABLE other (y VARCHAR); INSERT INTO other VALUES ('EWR')")
RANGE = Check(table="t", kind=Kind.RANGE, columns=("x",), limits=Limits(minimum=1, maximum=2400), contract="t 1.0.0")
SEEN = Observed(rows=1000, looked_at=800, failing=2, counted=2, examples=((5, "2761"), (9, "-1")))


def checks(table: str = "orders") -> list[Check]:
    return [check for check in checks_of(contract()) if check.table == table]


def one(kind: Kind, *columns: str) -> Check:
    (found,) = [check for check in checks() if check.kind is kind and check.columns == columns]
    return found


# --- contract to checks -----------------------------------------------------------------------------------------------


def test_every_promise_becomes_a_check_and_none_twice() -> None:
    found = checks()
    assert Counter((check.code, check.columns) for check in found) == Counter(
        [
            ("data.schema", ()),
            ("data.null", ("id",)),
            ("data.null", ("customer",)),
            ("data.range", ("code",)),
            ("data.pattern", ("code",)),
            ("data.enumeration", ("state",)),
            ("data.enumeration", ("size",)),
            ("data.range", ("amount",)),
            ("data.range", ("amount",)),
            ("data.range", ("pieces",)),
            ("data.null", ("note",)),
            ("data.unique", ("coupon",)),
            ("data.null", ("coupon",)),
            ("data.range", ("placed_on",)),
            ("data.null", ("placed_at",)),
            ("data.range", ("placed_at",)),
            ("data.range", ("packed_at",)),
            ("data.unique", ("id",)),
            ("data.foreign_key", ("customer",)),
            ("data.volume", ()),
            ("data.unique", ("customer", "placed_at")),
            ("data.rule", ()),
            ("data.rule", ()),
            ("data.freshness", ("placed_at",)),
        ]
    )
    assert all(GATES[check.code].stage is Stage.VALIDATE for check in found)
    assert {check.contract for check in found} == {"shop 1.2.0"}


def test_a_key_that_is_also_a_rule_is_asked_once_in_the_rules_words() -> None:
    changed = document()
    column(changed, "orders", "id").update(
        unique=True,
        quality=[{"metric": "duplicateValues", "mustBe": 0, "name": "one", "description": "Once."}],
    )
    found = [check for check in checks_of(parse(changed, origin="shop")) if check.columns == ("id",)]
    keys = [check for check in found if check.kind is Kind.UNIQUE and check.table == "orders"]
    assert [(key.name, key.description) for key in keys] == [("one", "Once.")]


def test_which_checks_set_rows_aside() -> None:
    aside = {(check.kind, check.columns) for check in checks() if check.quarantines}
    assert (Kind.FILLED, ("customer",)) in aside
    assert (Kind.LISTED, ("size",)) in aside, "an invalid value is invalid even where a few are tolerated"
    assert (Kind.RANGE, ("pieces",)) not in aside, "a warning"
    assert (Kind.FILLED, ("coupon",)) not in aside, "a tolerated share of nulls"
    assert (Kind.REFERENCE, ("customer",)) not in aside, "a tolerated share of references"
    assert not {kind for kind, _ in aside} - OF_ROWS


@pytest.mark.parametrize("wanted", [True, False])
def test_the_contract_may_decide_about_quarantine(wanted: bool) -> None:
    changed = document()
    column(changed, "orders", "coupon")["quality"][1]["customProperties"] = [
        {"property": "quarantine", "value": wanted}
    ]
    found = [
        check
        for check in checks_of(parse(changed, origin="shop"))
        if check.kind is Kind.FILLED and check.columns == ("coupon",)
    ]
    assert [check.quarantines for check in found] == [wanted]


@pytest.mark.parametrize(
    ("query", "operator", "kind"),
    [
        ("SELECT count(*) FROM {object} WHERE a < b", "mustBe", Kind.ROW_RULE),
        ("select COUNT( * ) from ${table}\nwhere a < b", "mustBeLessThan", Kind.ROW_RULE),
        ("SELECT count(*) FROM {object} WHERE a < b", "mustBeGreaterThan", Kind.TABLE_RULE),
        ("SELECT count(*) FROM {object} WHERE a < b GROUP BY a", "mustBe", Kind.TABLE_RULE),
        ("SELECT count(a) FROM {object} WHERE a < b", "mustBe", Kind.TABLE_RULE),
        ("SELECT max(a) FROM {object}", "mustBe", Kind.TABLE_RULE),
    ],
)
def test_a_query_that_counts_failing_rows_is_a_rule_of_rows(query: str, operator: str, kind: Kind) -> None:
    changed = document()
    changed["schema"][1]["quality"] = [{"type": "sql", "query": query, operator: 0}]
    found = [check for check in checks_of(parse(changed, origin="shop")) if check.code == "data.rule"]
    assert [check.kind for check in found] == [kind]


# --- checks to SQL ----------------------------------------------------------------------------------------------------


def failing(check: Check, values: list[object], kind: str) -> list[object]:
    """The values that fail, as DuckDB reads the predicate."""
    DUCKDB.execute(f"CREATE OR REPLACE TABLE t (x {kind})")
    DUCKDB.executemany("INSERT INTO t VALUES (?)", [[value] for value in values])
    found = DUCKDB.execute(f"SELECT x FROM t AS checked WHERE {SQL.fails(check)} ORDER BY rowid").fetchall()
    return [row[0] for row in found]


def limited(kind: Kind, **limits: object) -> Check:
    return Check(table="t", kind=kind, columns=("x",), limits=Limits(**limits))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("check", "kind", "good", "bad"),
    [
        (limited(Kind.RANGE, minimum=1, maximum=5), "BIGINT", [1, 5, None], [0, 6]),
        (limited(Kind.RANGE, minimum=1, exclusive_minimum=True), "DOUBLE", [1.1, None], [1.0, -3.0]),
        (limited(Kind.RANGE, maximum=1, exclusive_maximum=True), "DOUBLE", [0.9, None], [1.0, math.inf]),
        (limited(Kind.RANGE, minimum="2024-01-01"), "DATE", ["2024-01-01", None], ["2023-12-31"]),
        (limited(Kind.LENGTH, min_length=1, max_length=2), "VARCHAR", ["a", "ab", "é!", None], ["", "abc"]),
        (limited(Kind.STEP, multiple_of=0.1), "DOUBLE", [0.3, 7.0, -0.7, None], [0.35]),
        (limited(Kind.STEP, multiple_of=5), "BIGINT", [0, -5, 10, None], [3]),
        (limited(Kind.LISTED, values=("a", "it's")), "VARCHAR", ["a", "it's", None], ["b", ""]),
        (limited(Kind.LISTED, values=(1, 2)), "BIGINT", [1, None], [3]),
        (limited(Kind.PATTERN, pattern="^[A-Z]{2}'?$"), "VARCHAR", ["AB", "AB'", None], ["ABC", "a"]),
        (Check(table="t", kind=Kind.FILLED, columns=("x",)), "BIGINT", [0], [None]),
        (
            Check(table="t", kind=Kind.PRESENT, columns=("x",), missing=(None, "", "n/a")),
            "VARCHAR",
            ["x"],
            ["", "n/a", None],
        ),
        (Check(table="t", kind=Kind.PRESENT, columns=("x",), missing=(-1,)), "BIGINT", [1, None], [-1]),
        (Check(table="t", kind=Kind.UNIQUE, columns=("x",)), "BIGINT", [1, None, None], [2, 2]),
        (Check(table="t", kind=Kind.ROW_RULE, query="x > 3 OR x = 1"), "BIGINT", [2, None], [1, 4]),
    ],
)
def test_a_predicate_is_true_of_failing_rows_alone(
    check: Check, kind: str, good: list[object], bad: list[object]
) -> None:
    assert failing(check, good, kind) == []
    found = failing(check, [*good, *bad], kind)
    assert [str(value) for value in found] == [str(value) for value in bad]


def test_a_reference_is_looked_up_and_null_refers_to_nothing() -> None:
    reference = one(Kind.REFERENCE, "customer").reference
    assert reference is not None
    check = Check(
        table="t", kind=Kind.REFERENCE, columns=("x",), reference=replace(reference, table="other", to=("y",))
    )
    assert failing(check, ["EWR", None, "ZZZ"], "VARCHAR") == ["ZZZ"]


@settings(deadline=None, max_examples=60)
@given(
    value=st.floats(allow_nan=False, allow_infinity=False, width=32),
    low=st.floats(-1e6, 1e6),
    high=st.floats(-1e6, 1e6),
    open_ends=st.tuples(st.booleans(), st.booleans()),
)
def test_a_range_in_sql_is_the_range_in_words(
    value: float, low: float, high: float, open_ends: tuple[bool, bool]
) -> None:
    limits = Limits(minimum=low, maximum=high, exclusive_minimum=open_ends[0], exclusive_maximum=open_ends[1])
    inside = (low < value if open_ends[0] else low <= value) and (value < high if open_ends[1] else value <= high)
    assert (failing(replace(RANGE, limits=limits), [value], "DOUBLE") == []) is inside


@settings(deadline=None)
@given(st.text())
def test_any_text_survives_as_a_constant(text: str) -> None:
    if "\0" not in text:
        assert DUCKDB.execute(f"SELECT {literal(text)}").fetchone() == (text,)


def test_placeholders_are_filled_with_and_without_a_dollar() -> None:
    query = "SELECT count({property}) FROM ${object} JOIN {table} USING (${column})"
    assert filled(query, relation='"t"', column="x") == 'SELECT count("x") FROM "t" JOIN "t" USING ("x")'


# --- what was seen to findings ----------------------------------------------------------------------------------------


def test_a_failing_check_says_how_many_and_which() -> None:
    found = judge(RANGE, SEEN, as_of=NOON)
    assert (found.outcome, found.measured, found.unit, found.sample_size) == (Outcome.FAIL, 2, "rows", 800)
    assert found.bound == "0 rows outside 1 to 2400"
    assert found.reason == (
        "In 2 of 800 rows with a value (0.25 %) x is outside 1 to 2400; for example 2761 in row 5, -1 in row 9."
    )
    assert found.source == "contract t 1.0.0"


def test_a_passing_check_says_on_how_much() -> None:
    found = judge(RANGE, Observed(rows=1000, looked_at=1000, counted=0), as_of=NOON)
    assert (found.outcome, found.measured) == (Outcome.PASS, 0)
    assert found.reason == "In all 1,000 rows x is 1 to 2400."


@pytest.mark.parametrize(
    ("bound", "outcome", "measured"),
    [
        (Bound(operator=Operator.LESS, values=(3.0,)), Outcome.PASS, 2),
        (Bound(operator=Operator.LESS, values=(2.0,)), Outcome.FAIL, 2),
        (Bound(operator=Operator.LESS, values=(0.3,), unit=Unit.PERCENT), Outcome.PASS, 0.25),
        (Bound(operator=Operator.LESS, values=(0.25,), unit=Unit.PERCENT), Outcome.FAIL, 0.25),
    ],
)
def test_tolerances(bound: Bound, outcome: Outcome, measured: float) -> None:
    found = judge(replace(RANGE, bound=bound), SEEN, as_of=NOON)
    assert (found.outcome, found.measured) == (outcome, measured)
    assert f"the contract asks for {bound.text()}" in found.reason


def test_a_share_is_judged_before_it_is_rounded() -> None:
    bound = Bound(operator=Operator.LESS_OR_EQUAL, values=(0.0,), unit=Unit.PERCENT)
    seen = Observed(rows=10**9, looked_at=10**9, failing=1, counted=1)
    found = judge(replace(RANGE, bound=bound), seen, as_of=NOON)
    assert (found.outcome, found.measured) == (Outcome.FAIL, 0.0)
    assert "1 of 1,000,000,000 rows (below 0.01 %)" in found.reason


def test_two_counts_that_differ_are_an_error() -> None:
    found = judge(RANGE, replace(SEEN, counted=3), as_of=NOON)
    assert found.outcome is Outcome.ERROR
    assert "counted 3 failing rows and the row predicate 2" in found.reason
    key = Check(table="t", kind=Kind.UNIQUE, columns=("x",))
    assert judge(key, replace(SEEN, sharing=4, counted=4), as_of=NOON).outcome is Outcome.FAIL
    assert judge(key, replace(SEEN, sharing=4, counted=2), as_of=NOON).outcome is Outcome.ERROR


@pytest.mark.parametrize(
    ("seen", "outcome", "expected"),
    [
        (Observed(rows=9, looked_at=0, counted=0), Outcome.INCONCLUSIVE, "No row has a value of t.x"),
        (Observed(rows=0, looked_at=0, counted=0), Outcome.INCONCLUSIVE, "The table is empty"),
        (Observed(unasked="it needs t.x, which is missing."), Outcome.INCONCLUSIVE, "which is missing"),
        (Observed(fault="Binder Error"), Outcome.ERROR, "could not be carried out: Binder Error"),
        (Observed(rows=9, looked_at=9), Outcome.ERROR, "gave no result"),
    ],
)
def test_nothing_seen_is_never_a_pass(seen: Observed, outcome: Outcome, expected: str) -> None:
    found = judge(RANGE, seen, as_of=NOON)
    assert found.outcome is outcome
    assert expected in found.reason
    assert found.measured is None


FRESH = one(Kind.FRESH, "placed_at")


def _newest(*, hours_before: float) -> float:
    return (NOON.timestamp() - hours_before * 3600) * 1e6


@pytest.mark.parametrize(
    ("hours", "outcome", "words"),
    [
        (47.0, Outcome.PASS, "47 hours before"),
        (48.0, Outcome.PASS, "2 days before"),
        (49.5, Outcome.FAIL, "2.1 days before"),
        (-3.0, Outcome.PASS, "3 hours after"),
        (1.0, Outcome.PASS, "1 hour before"),
    ],
)
def test_freshness(hours: float, outcome: Outcome, words: str) -> None:
    stale = int(outcome is Outcome.FAIL)
    found = judge(FRESH, Observed(rows=9, looked_at=9, counted=stale, value=_newest(hours_before=hours)), as_of=NOON)
    assert (found.outcome, found.measured, found.unit) == (outcome, hours, "hours")
    assert found.bound == "at most 48 hours"
    assert words in found.reason
    assert "the contract asks for at most 2 days" in found.reason
    wrong = Observed(rows=9, looked_at=9, counted=1 - stale, value=_newest(hours_before=hours))
    assert judge(FRESH, wrong, as_of=NOON).outcome is Outcome.ERROR


def test_a_table_without_a_time_has_no_age() -> None:
    found = judge(FRESH, Observed(rows=9, looked_at=9, counted=0), as_of=NOON)
    assert found.outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize(
    ("rows", "outcome"), [(7, Outcome.FAIL), (8, Outcome.PASS), (12, Outcome.PASS), (0, Outcome.FAIL)]
)
def test_volume(rows: int, outcome: Outcome) -> None:
    volume = one(Kind.ROWS)
    found = judge(volume, Observed(rows=rows, looked_at=rows, counted=rows), as_of=NOON)
    assert (found.outcome, found.measured, found.bound) == (outcome, rows, "8 to 12 rows")
    assert judge(volume, Observed(rows=rows, counted=rows + 1), as_of=NOON).outcome is Outcome.ERROR


def test_findings_have_one_order() -> None:
    found = [judge(check, SEEN, as_of=NOON) for check in checks() if check.kind in OF_ROWS]
    assert in_order(reversed(found)) == in_order(found)
    assert [finding.code for finding in in_order(found)] == sorted(
        (finding.code for finding in found), key=list(GATES).index
    )


def test_every_kind_of_row_check_has_its_words() -> None:
    kinds = {check.kind for check in checks_of(contract())} & OF_ROWS
    assert kinds == OF_ROWS
    for check in checks_of(contract()):
        if check.kind in OF_ROWS:
            assert breach(check)
            assert not judge(check, SEEN, as_of=NOON).reason.startswith("In all")


# --- columns ----------------------------------------------------------------------------------------------------------

ORDERS = contract().table("orders")
COLUMNS = one(Kind.COLUMNS)


def found_columns() -> dict[str, Found]:
    return {
        name: Found(name=name, kind=promised.logical_type, native="?", zoned=promised.timezone)
        for name, promised in ORDERS.columns.items()
    }


def test_columns_as_promised() -> None:
    (found,) = judge_columns(COLUMNS, ORDERS, found_columns(), counted=0)
    assert (found.outcome, found.subject, found.measured) == (Outcome.PASS, "orders", 12)


def test_a_renamed_column_is_recognized() -> None:
    found = found_columns()
    found["placed_at_utc"] = replace(found.pop("placed_at"), name="placed_at_utc")
    reasons = [finding.reason for finding in judge_columns(COLUMNS, ORDERS, found, counted=2)]
    assert reasons == [
        "`placed_at` is missing; `placed_at_utc`, not in the contract, looks like it.",
        "`placed_at_utc` is not in the contract; it may be `placed_at` under a new name.",
    ]


def test_a_column_that_looks_like_nothing_is_no_new_name() -> None:
    found = found_columns()
    found["zzz"] = replace(found.pop("note"), name="zzz")
    assert [one.reason for one in compare(ORDERS, found)] == [
        "`note` is missing.",
        "`zzz` is not in the contract.",
    ]


@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        ("pieces", {"kind": LogicalType.STRING}, "`pieces` is string; the contract says integer."),
        ("pieces", {"kind": LogicalType.NUMBER}, "`pieces` is number; the contract says integer."),
        ("pieces", {"kind": None, "native": "blob"}, "`pieces` is blob; the contract says integer."),
        (
            "placed_at",
            {"zoned": False},
            "`placed_at` is timestamp without a time zone; the contract says timestamp with a time zone.",
        ),
        (
            "packed_at",
            {"zoned": True},
            "`packed_at` is timestamp with a time zone; the contract says timestamp without a time zone.",
        ),
        ("amount", {"kind": LogicalType.INTEGER}, None),
        ("pieces", {"kind": LogicalType.STRING, "empty": True}, None),
    ],
)
def test_types(name: str, change: dict[str, object], expected: str | None) -> None:
    found = found_columns()
    found[name] = replace(found[name], **change)  # type: ignore[arg-type]
    assert [one.reason for one in compare(ORDERS, found)] == ([expected] if expected else [])


def test_columns_that_two_readings_see_differently_are_an_error() -> None:
    (found,) = judge_columns(COLUMNS, ORDERS, found_columns(), counted=1)
    assert found.outcome is Outcome.ERROR


def test_a_table_that_was_not_delivered() -> None:
    (found,) = judge_columns(COLUMNS, ORDERS, None, counted=None)
    assert (found.outcome, found.reason) == (Outcome.FAIL, "Table orders was not delivered.")


def test_what_cannot_be_asked() -> None:
    tables = contract().tables
    whole = {
        "orders": found_columns(),
        "customers": {
            name: Found(name=name, kind=promised.logical_type, native="?")
            for name, promised in tables["customers"].columns.items()
        },
    }
    assert not any(unasked(check, tables, whole) for check in checks_of(contract()))
    short = {
        **whole,
        "orders": {name: one for name, one in whole["orders"].items() if name not in ("amount", "placed_on")},
    }
    silent = {check.subject: unasked(check, tables, short) for check in checks() if unasked(check, tables, short)}
    assert silent == {
        "orders.amount": "it needs orders.amount, which is missing.",
        "orders.placed_on": "it needs orders.placed_on, which is missing.",
        "orders": "it needs orders.amount, which is missing.",
    }
    alone = {"orders": whole["orders"]}
    assert (
        unasked(one(Kind.REFERENCE, "customer"), tables, alone)
        == "table customers is not among those that are checked."
    )
    empty = {**whole, "orders": {**whole["orders"], "pieces": replace(whole["orders"]["pieces"], empty=True)}}
    assert unasked(one(Kind.RANGE, "pieces"), tables, empty) == "no row has a value of orders.pieces."
    assert one(Kind.RANGE, "pieces").severity is Severity.WARNING


@pytest.mark.parametrize(
    ("pattern", "java"),
    [
        ("^[A-Z]{2}(?:-[0-9]+)?$", r"(?d)^[A-Z]{2}(?:-[0-9]+)?\z"),
        (r"^\$[0-9]+\\$", r"(?d)^\$[0-9]+\\\z"),
        ("[$]|[^$]|[]$]|[^]$]|[[:alpha:]$]|[\\]$]", "(?d)[$]|[^$]|[]$]|[^]$]|[[:alpha:]$]|[\\]$]"),
        ("a|b$|$", r"(?d)a|b\z|\z"),
    ],
)
def test_the_end_of_a_text_in_java(pattern: str, java: str) -> None:
    assert java_pattern(pattern) == java
