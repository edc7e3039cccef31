"""How the column types of SQLite and PostgreSQL are stored: declared type → Arrow type, and how a value gets there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.types import NullType, TypeEngine

from towpath.adapters.sources_files import QuotingRows
from towpath.adapters.sources_sql_url import SqlSource
from towpath.adapters.sources_writer import to_utc
from towpath.core.errors import BadInput

# NUMERIC without precision holds any number of digits; a file's column does not
_PLAIN_DECIMAL = (38, 18)
_AS_TEXT = (sa.Uuid, sa.JSON, sa.Enum, pg.INET, pg.CIDR, pg.MACADDR, pg.MACADDR8, pg.CITEXT)


@dataclass(frozen=True, kw_only=True)
class SqlColumn:
    """A column: its declared type, the Arrow type it is stored as, and whether the database is asked for its text."""

    name: str
    declared: TypeEngine[Any]
    arrow: pa.DataType
    as_text: bool
    convert: Callable[[Any], Any] | None

    @property
    def is_text(self) -> bool:
        return bool(pa.types.is_string(self.arrow))

    def expression(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """What is selected: the driver's own value (SQLAlchemy's conversions guess on SQLite), or its text."""
        return sa.type_coerce(sa.cast(column, sa.Text()) if self.as_text else column, NullType())

    def sortable(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """What rows are ordered by; some types (JSON) have no order but that of their text."""
        return sa.cast(column, sa.Text()) if self.as_text else column

    def array(self, values: Sequence[Any], source: SqlSource) -> pa.Array:
        """The values as Arrow; raises `BadInput` naming one that is not of the declared type."""
        try:
            return pa.array(self._converted(values), type=self.arrow)
        except (pa.ArrowException, ValueError, TypeError, ArithmeticError, OverflowError) as error:
            raise self._misfit(values, source, error) from error

    def _converted(self, values: Sequence[Any]) -> Sequence[Any]:
        if self.convert is None:
            return values
        return [None if value is None else self.convert(value) for value in values]

    def _misfit(self, values: Sequence[Any], source: SqlSource, error: Exception) -> BadInput:
        wrong, why = None, error
        for value in values:
            try:
                pa.array(self._converted([value]), type=self.arrow)
            except (pa.ArrowException, ValueError, TypeError, ArithmeticError, OverflowError) as one:
                wrong, why = value, one
                break
        return QuotingRows(
            f"{source.name}: column {self.name!r}, declared {self.declared}, holds {wrong!r}, "
            f"which is not a {self.arrow} ({why}).",
            value=wrong,
            hint="Mend the value, or declare the column's real type (for instance in a view that casts it).",
        )


def sql_column(name: str, declared: TypeEngine[Any], source: SqlSource) -> SqlColumn:
    """How a column of that declared type is read. Raises `BadInput` for a type that cannot be stored."""
    if isinstance(declared, pg.DOMAIN):
        return sql_column(name, declared.data_type, source)
    if isinstance(declared, _AS_TEXT):
        return SqlColumn(name=name, declared=declared, arrow=pa.string(), as_text=not source.is_sqlite, convert=None)
    arrow = _arrow(declared, sqlite=source.is_sqlite)
    if arrow is None:
        raise BadInput(
            f"{source.name}: column {name!r} has the type {_shown(declared)}, which cannot be stored.",
            value=name,
            valid=(
                "integers",
                "numeric",
                "real",
                "double",
                "boolean",
                "text",
                "date",
                "time",
                "timestamp",
                "bytes",
                "uuid",
                "json",
            ),
            hint="Read a view that casts the column to one of these or leaves it out.",
        )
    convert = _SQLITE_CONVERTERS.get(arrow.id) if source.is_sqlite else None
    if pa.types.is_decimal(arrow):
        convert = _decimal
    return SqlColumn(name=name, declared=declared, arrow=arrow, as_text=False, convert=convert)


# The first class a declared type belongs to decides, so subclasses come before their classes.
_FIXED: tuple[tuple[type[TypeEngine[Any]], pa.DataType], ...] = (
    (sa.Boolean, pa.bool_()),
    (sa.SmallInteger, pa.int16()),
    (sa.BigInteger, pa.int64()),
    (sa.Integer, pa.int32()),
    (sa.REAL, pa.float32()),
    (sa.Float, pa.float64()),
    (sa.Date, pa.date32()),
    (sa.LargeBinary, pa.binary()),
    (sa.String, pa.string()),
)
# SQLite's integers and floats are of 64 bits whatever they are called
_WIDE = {pa.int16(): pa.int64(), pa.int32(): pa.int64(), pa.float32(): pa.float64()}


def _arrow(declared: TypeEngine[Any], *, sqlite: bool) -> pa.DataType | None:
    if isinstance(declared, sa.DateTime):
        return pa.timestamp("us", tz="UTC" if declared.timezone else None)
    if isinstance(declared, sa.Time):
        return None if declared.timezone else pa.time64("us")
    if isinstance(declared, sa.Numeric) and not isinstance(declared, sa.Float):
        return _decimal_type(declared)
    arrow = next((arrow for kind, arrow in _FIXED if isinstance(declared, kind)), None)
    return _WIDE.get(arrow, arrow) if sqlite else arrow


def _decimal_type(declared: sa.Numeric[Any]) -> pa.DataType | None:
    precision, scale = declared.precision, declared.scale
    if precision is None:
        precision, scale = _PLAIN_DECIMAL
    scale = scale or 0
    if not 0 <= scale <= precision <= 76:
        return None
    return pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)


def _shown(declared: TypeEngine[Any]) -> str:
    return "none (undeclared or unknown)" if isinstance(declared, NullType) else str(declared)


def _decimal(value: Any) -> Decimal:
    """A float (SQLite has no decimals) as the shortest decimal that reads back as it."""
    return value if isinstance(value, Decimal) else Decimal(str(value))


def _boolean(value: Any) -> bool:
    if value not in (0, 1):
        raise ValueError("a boolean is 0 or 1")
    return bool(value)


def _datetime(value: Any) -> datetime:
    """SQLite's text; with a zone it is turned to UTC, as the column cannot hold one."""
    instant = datetime.fromisoformat(value)
    return to_utc(instant).replace(tzinfo=None) if instant.tzinfo else instant


_SQLITE_CONVERTERS: dict[int, Callable[[Any], Any]] = {
    pa.bool_().id: _boolean,
    pa.timestamp("us").id: _datetime,
    pa.date32().id: date.fromisoformat,
    pa.time64("us").id: time.fromisoformat,
}
