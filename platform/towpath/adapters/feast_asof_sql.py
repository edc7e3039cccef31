"""The SQL of the point-in-time store: pure text, no engine and no I/O.

Times are compared as whole microseconds since 1970 (BIGINT). A feature time that is finer is rounded up, an entity time
that is finer is rounded down (by the caller): below the microsecond a row is rather missed than leaked.

**Why one ASOF join is enough.** A row counts at `t` only if `event <= t` and `created <= t`; among those that count the
newest event wins, then the newest created. Two inequalities are one: the row counts from `known_from = greatest(event,
created)` on. Walk a key's rows by `known_from`: a row that arrives with an event older than one already known (a late
backfill of the past) can never win, from its arrival on; every other row wins from its own `known_from` until the next
such row. So keep only the rows whose event is the running maximum, one a `known_from`; the winner at `t` is the last
kept row with `known_from <= t`. The TTL is looked at last and on the winner alone: every other row that counts has an
event no newer, so if the winner is too old, all are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

ENTITY_RELATION = "entity_rows"
ROW, AT = "row_number", "at"
_ORDER = "file, line"
_BIGINT_MAX = 2**63 - 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class TimeColumn:
    """A time column of a source; `nanoseconds` if it is stored finer than a microsecond."""

    name: str
    nanoseconds: bool = False


@dataclass(frozen=True, kw_only=True)
class Scan:
    """Parquet files in the order that breaks the last ties: of two equal times, the later file and row wins."""

    files: tuple[str, ...]
    event: TimeColumn
    created: TimeColumn | None = None


@dataclass(frozen=True, kw_only=True)
class ViewJoin:
    """One feature view as it takes part in a historical join.

    `keys` pairs a source column with the column of the entity relation that it equals; `features` pairs a source column
    with its name in the result; `prefix` names the two time columns of the row that was joined.
    """

    prefix: str
    scan: Scan
    keys: tuple[tuple[str, str], ...]
    features: tuple[tuple[str, str], ...]
    ttl: timedelta | None = None


def identifier(name: str) -> str:
    """`name` quoted as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """`text` quoted as an SQL string."""
    return "'" + text.replace("'", "''") + "'"


def microseconds(span: timedelta) -> int:
    """A span as whole microseconds, at most what a BIGINT holds."""
    return min(span // timedelta(microseconds=1), _BIGINT_MAX)


def to_microseconds(time: datetime | None) -> int | None:
    """A time as microseconds since 1970; one without zone is UTC."""
    if time is None:
        return None
    aware = time if time.tzinfo else time.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(microseconds=1)


def from_microseconds(time: int | None) -> datetime | None:
    """The UTC time of so many microseconds since 1970."""
    return None if time is None else _EPOCH + timedelta(microseconds=time)


def from_files(files: Sequence[str], *, located: bool = False) -> str:
    """A table function over Parquet files; `located` adds `filename` and `file_row_number`.

    Several files are matched by column name, so that one written before a column existed reads as null.
    """
    listed = ", ".join(literal(_no_glob(file)) for file in files)
    options = ["filename = true", "file_row_number = true"] if located else []
    if len(files) > 1:
        options.append("union_by_name = true")
    return f"read_parquet({', '.join([f'[{listed}]', *options])})"


def describe(files: Sequence[str]) -> str:
    """The columns of the files and their types."""
    return f"DESCRIBE SELECT * FROM {from_files(files)}"


def historical(
    views: Sequence[ViewJoin], *, as_known_at: bool, feature_times: bool, first: int | None, last: int | None
) -> str:
    """One query: every entity row once, in its order, with the features of each view that held at its time.

    The result has one column per feature, view by view, then (with `feature_times`) two columns per view; the entity
    rows' own columns stay with the caller. `first` and `last` bound the entity times, in microseconds; rows of a view
    that cannot count for any entity row in between are left out early.
    """
    columns = [column for index, view in enumerate(views) for column in _feature_columns(index, view)]
    if feature_times:
        columns += [column for index, view in enumerate(views) for column in _time_columns(index, view)]
    tables = [
        _winners(index, view, as_known_at=as_known_at, first=first, last=last) for index, view in enumerate(views)
    ]
    joins = "".join(_join(index, view) for index, view in enumerate(views))
    selected = ",\n  ".join(columns)
    return f"WITH {', '.join(tables)}\nSELECT\n  {selected}\nFROM {ENTITY_RELATION} AS e\n{joins}ORDER BY e.{ROW}"


def feature_time_names(prefix: str) -> tuple[str, str]:
    """The two columns that tell which row of a view was joined."""
    return f"{prefix}__event_timestamp", f"{prefix}__created_timestamp"


def rows_between(
    scan: Scan,
    columns: Sequence[str],
    *,
    start: int | None,
    end: int | None,
    known_by: int | None = None,
    constant: tuple[str, str] | None = None,
) -> str:
    """The rows with `start <= event <= end` (microseconds, each optional), as they are stored, in stored order.

    `known_by` leaves out rows created later. `constant` adds a text column of one value.
    """
    listed, inner, _ = _stored(scan, columns, constant)
    conditions = [f"event_at >= {start}"] if start is not None else []
    conditions += [f"event_at <= {end}"] if end is not None else []
    conditions += [f"created_at <= {known_by}"] if known_by is not None and scan.created else []
    return f"SELECT {listed}\nFROM ({inner})\nWHERE {' AND '.join(conditions) or 'true'}\nORDER BY {_ORDER}"


@dataclass(frozen=True, kw_only=True)
class Span:
    """What is materialized, in microseconds: events from `start` to `end`, both included.

    Of the events before `start` those rows too that were created from `created_since` to `end`. `known_by` leaves out
    rows created later.
    """

    start: int
    end: int
    created_since: int
    known_by: int | None = None


def newest_of(
    scan: Scan, columns: Sequence[str], keys: Sequence[str], span: Span, *, constant: tuple[str, str] | None = None
) -> str:
    """The newest row of each key that a span brings (event, then created, then position), in stored order.

    A late row, whose event lies before the span, is brought only if it is the newest of its key: one that a row before
    it outdates would put the past in the place of the present.
    """
    listed, inner, positions = _stored(scan, columns, constant)
    by = [f"c{positions[key]}" for key in keys]
    conditions = [f"event_at <= {span.end}"]
    conditions += [f"created_at <= {span.known_by}"] if span.known_by is not None and scan.created else []
    partition = f"PARTITION BY {', '.join(by)} " if by else ""
    order = "ORDER BY event_at DESC, created_at DESC NULLS LAST, file DESC, line DESC"
    winner = f"QUALIFY row_number() OVER ({partition}{order}) = 1"
    stored = f"WITH stored AS NOT MATERIALIZED (\n  SELECT * FROM ({inner})\n  WHERE {' AND '.join(conditions)}\n)"
    if scan.created is None:
        return f"{stored}\nSELECT {listed}\nFROM stored\nWHERE event_at >= {span.start}\n{winner}\nORDER BY {_ORDER}"
    same = " AND ".join(f"before.{key} IS NOT DISTINCT FROM brought.{key}" for key in by) or "true"
    return f"""\
{stored}, brought AS MATERIALIZED (
  SELECT * FROM stored WHERE event_at >= {span.start} OR created_at >= {span.created_since}
  {winner}
), late AS MATERIALIZED (
  SELECT * FROM brought WHERE event_at < {span.start} AND created_at <= {span.end}
), outdated AS (
  SELECT brought.file, brought.line FROM late AS brought SEMI JOIN stored AS before
  ON {same} AND before.event_at > brought.event_at
)
SELECT {listed}
FROM brought
WHERE event_at >= {span.start}
  OR (created_at <= {span.end} AND (file, line) NOT IN (SELECT (file, line) FROM outdated))
ORDER BY {_ORDER}"""


def _stored(scan: Scan, columns: Sequence[str], constant: tuple[str, str] | None) -> tuple[str, str, dict[str, int]]:
    """The columns to list, the table they are listed from with its times, and the position of each column there."""
    names = list(dict.fromkeys(columns))
    stored = [f"{identifier(name)} AS c{position}" for position, name in enumerate(names)]
    listed = [f"c{position} AS {identifier(name)}" for position, name in enumerate(names)]
    if constant:
        listed.append(f"{literal(constant[1])} AS {identifier(constant[0])}")
    inner = f"SELECT {', '.join([*stored, _times(scan)])}\n  FROM {from_files(scan.files, located=True)}"
    return ", ".join(listed), inner, {name: position for position, name in enumerate(names)}


def _feature_columns(index: int, view: ViewJoin) -> list[str]:
    return [
        f"{_unless_expired(index, view, f'v{index}.f{position}')} AS {identifier(name)}"
        for position, (_, name) in enumerate(view.features)
    ]


def _time_columns(index: int, view: ViewJoin) -> list[str]:
    return [
        f"{_unless_expired(index, view, f'make_timestamp(v{index}.{column})::TIMESTAMPTZ')} AS {identifier(name)}"
        for column, name in zip(("event_at", "created_at"), feature_time_names(view.prefix), strict=True)
    ]


def _unless_expired(index: int, view: ViewJoin, value: str) -> str:
    if not view.ttl:
        return value
    return f"CASE WHEN e.{AT} - v{index}.event_at <= {microseconds(view.ttl)} THEN {value} END"


def _join(index: int, view: ViewJoin) -> str:
    equal = [f"e.{column} = v{index}.k{position}" for position, (_, column) in enumerate(view.keys)]
    return f"ASOF LEFT JOIN v{index} ON {' AND '.join([*equal, f'e.{AT} >= v{index}.known_from'])}\n"


def _winners(index: int, view: ViewJoin, *, as_known_at: bool, first: int | None, last: int | None) -> str:
    """The rows of a view that win at some time, each from its `known_from` on.

    Common tables, not subqueries in FROM: DuckDB would look for a name there among the tables joined before, first.
    """
    keys = [f"k{position}" for position in range(len(view.keys))]
    values = [f"f{position}" for position in range(len(view.features))]
    sources = [source for source, _ in (*view.keys, *view.features)]
    renamed = [f"{identifier(source)} AS {name}" for source, name in zip(sources, keys + values, strict=True)]
    present = [*keys, "event_at", *(["created_at"] if as_known_at else [])]
    known_from = "greatest(event_at, created_at)" if as_known_at else "event_at"
    window = f"ORDER BY known_from, event_at, created_at NULLS FIRST, {_ORDER}"
    if keys:
        window = f"PARTITION BY {', '.join(keys)} {window}"
    newest = "lead(known_from) OVER w IS DISTINCT FROM known_from"
    if as_known_at:
        newest += f" AND max(event_at) OVER ({window} ROWS UNBOUNDED PRECEDING) = event_at"
    in_time = [f"known_from <= {last}"] if last is not None else []
    in_time += [f"event_at >= {first - microseconds(view.ttl)}"] if view.ttl and first is not None else []
    return f"""\
v{index}_stored AS NOT MATERIALIZED (
  SELECT {", ".join([*renamed, _times(view.scan)])}
  FROM {from_files(view.scan.files, located=True)}
), v{index}_known AS NOT MATERIALIZED (
  SELECT *, {known_from} AS known_from
  FROM v{index}_stored
  WHERE {" AND ".join(f"{name} IS NOT NULL" for name in present)}
), v{index} AS NOT MATERIALIZED (
  SELECT {", ".join([*keys, *values])}, event_at, created_at, known_from
  FROM v{index}_known
  WHERE {" AND ".join(in_time) or "true"}
  WINDOW w AS ({window})
  QUALIFY {newest}
)"""


def _times(scan: Scan) -> str:
    created = _micros(scan.created) if scan.created else "NULL::BIGINT"
    return f"{_micros(scan.event)} AS event_at, {created} AS created_at, filename AS file, file_row_number AS line"


def _micros(column: TimeColumn) -> str:
    """A time as microseconds since 1970, a time without zone taken as UTC, rounded up where it is finer."""
    name = identifier(column.name)
    whole = f"epoch_us({name}::TIMESTAMPTZ)"
    # the cast rounds to the nearest; what it rounded down goes one up
    return f"{whole} + (epoch_ns({name}) > {whole} * 1000)::BIGINT" if column.nanoseconds else whole


def _no_glob(path: str) -> str:
    return "".join(f"[{char}]" if char in "*?[" else char for char in path)
