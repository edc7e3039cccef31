"""Whether the online store answers what the offline join gives, value by value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from towpath.ports import FeatureView, Parity

if TYPE_CHECKING:
    import feast

_TOLERANCE = 1e-6  # of a number's size, or of 1 if it is smaller: the online store may keep it as float32


def answers(store: feast.FeatureStore, view: FeatureView, rows: pd.DataFrame, *, at: datetime) -> pd.DataFrame:
    """What the online store serves of one view at a time, for each of the rows; a row with a null key gets nulls.

    A row that is older than the view's TTL is not served: the store keeps it, and the gateway leaves it out.
    """
    from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL

    references = [f"{view.name}:{feature}" for feature in view.features]
    keys = list(view.keys)
    ttl = store.get_feature_view(view.name).ttl
    oldest = (at - ttl).timestamp() if ttl else -math.inf
    if not keys:
        found = _served(store.get_online_features(references, [{DUMMY_ENTITY_ID: DUMMY_ENTITY_VAL}]), oldest)
        return pd.DataFrame({feature: _objects(found[feature] * len(rows)) for feature in view.features})
    asked = rows[keys].dropna().drop_duplicates().reset_index(drop=True)
    if asked.empty:
        return pd.DataFrame(index=rows.index, columns=list(view.features), dtype=object)
    found = _served(store.get_online_features(references, asked.to_dict(orient="records")), oldest)
    table = asked.assign(**{feature: _objects(found[feature]) for feature in view.features})
    return rows[keys].merge(table, on=keys, how="left")[list(view.features)]


def _served(response: Any, oldest: float) -> dict[str, list[Any]]:
    """The values by name, without those whose event lies before `oldest` (seconds since 1970)."""
    values: dict[str, list[Any]] = response.to_dict()
    times = zip(response.proto.metadata.feature_names.val, response.proto.results, strict=True)
    for name, vector in times:
        if vector.event_timestamps:
            values[name] = [
                value if at.seconds + at.nanos / 1e9 >= oldest else None
                for value, at in zip(values[name], vector.event_timestamps, strict=True)
            ]
    return values


def difference(view: FeatureView, offline: pd.DataFrame, online: pd.DataFrame) -> Parity:
    """The rows in which any feature of the view differs, and the first of them. The frames hold the same rows."""
    differing: set[int] = set()
    example = ""
    for feature in view.features:
        pairs = enumerate(zip(offline[feature], online[feature], strict=True))
        apart = [row for row, (one, other) in pairs if not _same(one, other)]
        if apart and not example:
            key = ", ".join(f"{name}={offline[name].iloc[apart[0]]}" for name in view.keys) or "every row"
            example = (
                f"{feature} of {key} is {offline[feature].iloc[apart[0]]} offline "
                f"and {online[feature].iloc[apart[0]]} online"
            )
        differing |= set(apart)
    return Parity(view=view.name, sampled=len(offline), differing=len(differing), example=example)


def tables(offline: pd.DataFrame, online: pd.DataFrame) -> tuple[pa.Table, pa.Table]:
    """Both frames as Arrow, the online one with the offline one's types where its values have them."""
    reference = pa.Table.from_pandas(offline, preserve_index=False)
    columns = [_typed(online[field.name], field.type) for field in reference.schema]
    return reference, pa.table(columns, names=reference.column_names)


def _typed(values: pd.Series[Any], kind: pa.DataType) -> pa.Array:
    try:
        return pa.array(values, type=None if pa.types.is_null(kind) else kind, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array(values, from_pandas=True)


def _objects(values: Sequence[Any]) -> pd.Series[Any]:
    """As they are: a null among integers would make pandas read floats."""
    return pd.Series(list(values), dtype=object)


def _same(one: Any, other: Any) -> bool:
    lists = [isinstance(value, np.ndarray | list | tuple) for value in (one, other)]
    if any(lists):
        return all(lists) and len(one) == len(other) and all(map(_same, one, other))
    if pd.isna(one) or pd.isna(other):
        return bool(pd.isna(one) and pd.isna(other))
    if any(isinstance(value, np.datetime64) for value in (one, other)):
        return _utc(one) == _utc(other)  # in a list the offline store has no time zones
    if isinstance(one, Real) and isinstance(other, Real):
        return math.isclose(one, other, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
    return bool(one == other)


def _utc(value: Any) -> pd.Timestamp:
    found = pd.Timestamp(value)
    return found.tz_localize("UTC") if found.tzinfo is None else found.tz_convert("UTC")
