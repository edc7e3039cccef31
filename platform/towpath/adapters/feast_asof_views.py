"""Feature views as they take part in a historical join: their keys, their columns as stored, and whether they can."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
from feast.feature_view import DUMMY_ENTITY_ID, FeatureView
from feast.on_demand_feature_view import OnDemandFeatureView

from towpath.adapters import feast_asof_sql as sql
from towpath.adapters.feast_asof_entities import EntityRows
from towpath.adapters.feast_asof_sources import SourceReader
from towpath.core.errors import BadInput, DeclarationError


def settled_order(refs: Sequence[str], on_demand: Sequence[OnDemandFeatureView]) -> list[str]:
    """The references, those that Feast appended for on-demand views sorted: it takes them from a set."""
    inputs = {
        f"{projection.name_to_use()}:{feature.name}"
        for view in on_demand
        for projection in view.source_feature_view_projections.values()
        for feature in projection.features
    }
    asked = len(refs)
    while asked and refs[asked - 1] in inputs:
        asked -= 1
    return [*refs[:asked], *sorted(refs[asked:])]


def join_keys(view: FeatureView) -> list[tuple[str, str]]:
    """Pairs of a view's join key and the entity rows' column that it is matched with; none for a view of no entity."""
    renamed = view.projection.join_key_map
    return [(key.name, renamed.get(key.name, key.name)) for key in view.entity_columns if key.name != DUMMY_ENTITY_ID]


def view_join(
    view: FeatureView,
    features: Sequence[str],
    rows: EntityRows,
    reader: SourceReader,
    *,
    known: bool,
    full_names: bool,
) -> sql.ViewJoin:
    """How `features` of a view are joined to the rows.

    `known` asks for a created timestamp, `full_names` prefixes the result's columns with the view. Raises `NotFound`
    (files), `DeclarationError` (view or source) and `BadInput` (a key of another type than is stored).
    """
    source = view.batch_source
    if source is None:
        raise DeclarationError(
            f"Feature view {view.name!r} has no batch source.", hint="Give it a FileSource of Parquet."
        )
    stored = {name: column for column, name in source.field_mapping.items()}
    event = stored.get(source.timestamp_field, source.timestamp_field)
    created = stored.get(source.created_timestamp_column, source.created_timestamp_column) or None
    if known and not created:
        raise DeclarationError(
            f"Feature view {view.name!r}: source {source.name!r} has no created_timestamp_column, so nobody can tell "
            "when its rows were known.",
            value=view.name,
            hint="Name the column on the source, or set as_known_at: false and accept that backfills leak.",
        )
    keys = [(stored.get(key, key), column) for key, column in join_keys(view)]
    columns = [stored.get(feature, feature) for feature in features]
    scan, types = reader.scan(source, event=event, created=created, columns=[*(key for key, _ in keys), *columns])
    for key, column in keys:
        _refuse_text_against_number(view.name, key, types[key], column, rows.table.schema.field(column).type)
    prefix = view.projection.name_alias or view.name
    named = [f"{prefix}__{feature}" if full_names else feature for feature in features]
    return sql.ViewJoin(
        prefix=prefix,
        scan=scan,
        keys=tuple((key, rows.key_columns[column]) for key, column in keys),
        features=tuple(zip(columns, named, strict=True)),
        ttl=view.ttl,
    )


def refuse_twice(names: Sequence[str]) -> None:
    """Raises `BadInput` for a result with two columns of one name."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadInput(
            f"The result would hold the columns {twice} more than once.",
            value=twice,
            hint="Ask with full_feature_names=True, or rename the columns of the entity rows.",
        )


def _refuse_text_against_number(view: str, key: str, stored: str, column: str, given: pa.DataType) -> None:
    """DuckDB would cast the text to a number, match some rows and fail on others."""
    value = given.value_type if pa.types.is_dictionary(given) else given
    is_text = pa.types.is_string(value) or pa.types.is_large_string(value) or pa.types.is_string_view(value)
    if not pa.types.is_null(value) and is_text != stored.startswith(("VARCHAR", "ENUM", "UUID")):
        raise BadInput(
            f"Feature view {view!r}: key {key!r} is stored as {stored}, the entity rows' {column!r} is {given}.",
            value=str(given),
            hint="Give both the same type.",
        )
