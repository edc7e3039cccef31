"""What a look asks of a log, as SQL over the reader's tables `log` and `labels`.

Sums are of whole numbers (billionths), so that they do not depend on the order in which threads add: the same log gives
the same look to the last bit. Within a row, probabilities of classes are added in the order that the log has them in.
"""

from __future__ import annotations

from dataclasses import dataclass

from towpath.core.guardrails import Event, Measure

NANO = 1_000_000_000
_CLAMPED = "greatest(least({chance}, 1 - 2.220446049250313e-16), 2.220446049250313e-16)"
_CHANCE = _CLAMPED.format(chance="prediction")
_KNOWN = "probabilities IS NOT NULL AND label IS NOT NULL"
_GIVEN = _CLAMPED.format(chance="coalesce(probabilities[label], 0)")


@dataclass(frozen=True, kw_only=True)
class Kind:
    """How rows of one kind of model are judged by what came true of them.

    `label` is the column of `labels`, `first` the earliest of several (of two at once the lesser), `log_loss` and
    `brier` are of a row with the columns of `log` and its `label`, null when that is not known, and `bin` is where its
    prediction falls.
    """

    label: str
    first: str
    log_loss: str
    brier: str
    bin: str


BINARY = Kind(
    label="label",
    first="arg_min(label, instant * 2 + label)",
    log_loss=f"CASE WHEN prediction IS NOT NULL THEN CASE label WHEN 1 THEN -ln({_CHANCE}) "
    f"WHEN 0 THEN -ln(1 - {_CHANCE}) END END",
    brier="(prediction - label) ** 2",
    bin="CASE WHEN prediction BETWEEN 0 AND 1 THEN least(19, floor(prediction * 20))::INTEGER END",
)
"""Probabilities of 1: twenty bins."""
CLASSES = Kind(
    label="class",
    first="arg_min(class, (instant, class))",
    log_loss=f"CASE WHEN {_KNOWN} THEN -ln({_GIVEN}) END",
    brier=f"""CASE WHEN {_KNOWN} THEN list_sum(list_transform(map_entries(probabilities),
        lambda one: (one.value - (one.key = label)::INTEGER) ** 2)) + (NOT map_contains(probabilities, label))::INTEGER
        END""",
    bin="predicted",
)
"""A probability for each class: the loss is that of the class that came true, the score is Brier's own (1950), summed
over the classes, from 0 to 2. A class that the model gives no probability, since nobody taught it, counts as given 0: a
loss of 36.04, and 1 added to the score. A bin is a class that was predicted."""
_EVENTS = {Event.ERROR: "failed", Event.FALLBACK: "stood_in"}


def served(*, by_request: bool, labelled: bool, kind: Kind, arms: tuple[str, ...] = ("champion", "challenger")) -> str:
    """Make `served`: the rows that answered somebody, each with its losses when there is a label of its prediction.

    The first label counts. Assignment at weight 0 is none. A label names a prediction by its request and row, or all
    predictions of a key.
    """
    unit = "request" if by_request else "unit"
    rows = f"""
        SELECT instant, request, row_number, step, weight, arm, {unit} AS unit, key, prediction, probabilities,
            latency_ms, failed, stood_in, {kind.bin} AS bin
        FROM log WHERE arm IN ({", ".join(f"'{arm}'" for arm in arms)})"""
    if not labelled:
        return f"""
    CREATE OR REPLACE TEMP VIEW served AS SELECT *, NULL::DOUBLE AS log_loss, NULL::DOUBLE AS brier FROM ({rows})"""
    return f"""
    CREATE OR REPLACE TEMP TABLE served AS
    WITH rows AS ({rows}),
    told AS (SELECT * FROM labels WHERE {kind.label} IS NOT NULL),
    named AS (SELECT request, row_number, min(instant) AS instant, {kind.first} AS label
              FROM told WHERE request IS NOT NULL GROUP BY request, row_number),
    keyed AS (SELECT key, min(instant) AS instant, {kind.first} AS label
              FROM told WHERE request IS NULL GROUP BY key),
    known AS (
        SELECT rows.*,
            CASE WHEN keyed.instant IS NULL OR named.instant <= keyed.instant THEN named.label ELSE keyed.label END
            AS label
        FROM rows
        LEFT JOIN named ON named.request = rows.request AND named.row_number = rows.row_number
        LEFT JOIN keyed ON keyed.key = rows.key)
    SELECT * EXCLUDE (prediction, probabilities, label), {kind.log_loss} AS log_loss, {kind.brier} AS brier
    FROM known"""


EXPOSED = "unit IS NOT NULL AND weight > 0"
UNITS = f"SELECT step, weight, arm, count(DISTINCT unit) FROM served WHERE {EXPOSED} GROUP BY ALL"
REQUESTS = "SELECT count(DISTINCT request), count(*) FILTER (unit IS NULL) FROM served WHERE weight > 0"
SCORES = f"""
    SELECT step, weight, arm, bin, count(*) FROM served
    WHERE {EXPOSED} AND NOT stood_in AND bin IS NOT NULL GROUP BY ALL"""


def event(kind: Event) -> str:
    """A condition on a row: it met that event."""
    return _EVENTS[kind]


def above(measure: Measure) -> str:
    """A condition on a row, with one value: its measure lies above."""
    return f"{measure.value} > ?"


def first_bad(condition: str) -> str:
    """Units by the stratum and arm of their first row that meets the condition, first by time."""
    return f"""
    SELECT step, weight, arm, count(*) FROM (
        SELECT DISTINCT ON (unit) step, weight, arm FROM served WHERE {EXPOSED} AND ({condition})
        ORDER BY instant, request, row_number, arm)
    GROUP BY ALL"""


def ever_bad(condition: str) -> str:
    """The challenger's units that ever met the condition, and all of its units."""
    return f"""
    SELECT count(DISTINCT unit) FILTER ({condition}), count(DISTINCT unit) FROM served
    WHERE {EXPOSED} AND arm = 'challenger'"""


def _capped(measure: Measure) -> str:
    """A row's value, no greater than one value; null when it is not known. (`least` passes over nulls.)"""
    return f"CASE WHEN {measure.value} IS NOT NULL THEN least({measure.value}, ?) END"


def moments(measure: Measure) -> str:
    """Count, sum and sum of squares, in billionths, of each unit's mean value capped at one value."""
    return f"""
    SELECT step, weight, arm, count(*), sum(mean), sum(mean * mean) FROM (
        SELECT step, weight, arm, round(sum(nano) / count(nano))::HUGEINT AS mean FROM (
            SELECT step, weight, arm, unit, round({_capped(measure)} * {NANO})::BIGINT AS nano
            FROM served WHERE {EXPOSED})
        WHERE nano IS NOT NULL GROUP BY step, weight, arm, unit)
    GROUP BY ALL"""


def share_bad(condition: str) -> str:
    """The share of units that ever met the condition, of those of which it is known; null when there are none."""
    return f"""
    SELECT count(*) FILTER (bad) / nullif(count(*), 0) FROM (
        SELECT unit, bool_or({condition}) AS bad FROM served WHERE unit IS NOT NULL GROUP BY unit)
    WHERE bad IS NOT NULL"""


def deviation(measure: Measure) -> str:
    """The standard deviation over units of the mean value capped at one value; null for fewer than two units."""
    return f"""
    SELECT stddev_samp(mean) FROM (
        SELECT unit, avg({_capped(measure)}) AS mean FROM served WHERE unit IS NOT NULL
        GROUP BY unit ORDER BY unit)"""


def p99(measure: Measure) -> str:
    """The 99th percentile of single predictions; null when there are none."""
    return f"SELECT quantile_cont({measure.value}, 0.99) FROM served"
