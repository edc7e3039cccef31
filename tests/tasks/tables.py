"""A model project over a real table of scikit-learn's, one row a prediction, spread evenly over a hundred days."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

AS_OF = datetime(2024, 4, 10, tzinfo=UTC)
DAYS = 100
_BEGIN = pd.Timestamp("2024-01-01T00:00:00Z")

_DEFINITIONS = """\
import os

from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
from feast.types import Float64

subject = Entity(name="subject", join_keys=["subject"], value_type=ValueType.INT64)
measured = FeatureView(
    name="measured",
    entities=[subject],
    schema=[Field(name=name, dtype=Float64) for name in {features}],
    source=FileSource(
        name="measured",
        path=os.environ.get("TOWPATH_FEATURES", "data") + "/measured.parquet",
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
    ),
)
service = FeatureService(name="subjects", features=[measured])
"""
_STORE = """\
project: table
provider: local
registry:
  registry_type: file
  path: ${TOWPATH_FEAST_STATE}/registry.db
online_store:
  type: sqlite
  path: ${TOWPATH_FEAST_STATE}/online.db
offline_store:
  type: towpath.adapters.feast_asof.AsofOfflineStore
  as_known_at: true
entity_key_serialization_version: 3
"""


def build(
    folder: Path,
    table: pd.DataFrame,
    *,
    target: str,
    training: dict[str, Any],
    gates: dict[str, Any],
    fit: str,
    request: Sequence[str],
    monitoring: str = "20d",
    seed: int = 7,
) -> Path:
    """Write the project. `request` names the columns that come with the request; the others are features."""
    shuffled = table.sample(frac=1, random_state=seed).reset_index(drop=True)
    shuffled.insert(0, "subject", range(1, len(shuffled) + 1))
    shuffled.insert(1, "seen_at", _BEGIN + pd.to_timedelta(DAYS * 86_400 * shuffled.index // len(shuffled), unit="s"))
    repository = folder / "feature_repo"
    for part in (repository / "transforms/features", repository / "transforms/staging"):
        part.mkdir(parents=True)
    shuffled.to_csv(folder / "subjects.csv", index=False, date_format="%Y-%m-%dT%H:%M:%SZ")
    features = [name for name in table.columns if name not in (target, *request)]
    _write(folder / "subjects.odcs.yaml", yaml.safe_dump(_contract(shuffled, target), sort_keys=False))
    charter = _charter(target, training, gates, list(request), monitoring)
    _write(folder / "charter.yaml", yaml.safe_dump(charter, sort_keys=False))
    _write(folder / "train.py", fit)
    _write(repository / "feature_store.yaml", _STORE)
    _write(repository / "definitions.py", _DEFINITIONS.format(features=features))
    _write(repository / "transforms/features/measured.sql", _features(features))
    _write(repository / "transforms/spine.sql", _spine(target, request))
    return folder


def _write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")


def _charter(
    target: str, training: dict[str, Any], gates: dict[str, Any], request: list[str], monitoring: str
) -> dict[str, Any]:
    return {
        "towpath": 1,
        "project": "table",
        "owner": {"name": "Ada Lovelace", "email": "ada@example.com"},
        "purpose": "Show that a model of this task goes the whole path on a real table.",
        "risk": "low",
        "sources": {"subjects": {"uri": "subjects.csv", "contract": "subjects.odcs.yaml"}},
        "features": {"service": "subjects", "rowId": "subject", "request": request},
        "training": {"target": target, "span": "75d", "holdout": "25d", "minRows": 60, **training},
        "gates": {"latencyMs": 5000, **gates},
        "monitoring": {"window": monitoring, "driftShare": 1.0, "predictionDistance": 1.0},
        "outcome": {"metric": "better care", "target": "1 % more", "review": "90d"},
    }


def _contract(table: pd.DataFrame, target: str) -> dict[str, Any]:
    kinds = {"i": "integer", "f": "number", "M": "timestamp"}
    properties: list[dict[str, Any]] = [
        {"name": str(name), "logicalType": kinds.get(column.dtype.kind, "string"), "required": True}
        for name, column in table.items()
    ]
    properties[0] |= {"primaryKey": True, "primaryKeyPosition": 1}
    return {
        "apiVersion": "v3.1.0",
        "kind": "DataContract",
        "id": "subjects",
        "name": "Subjects",
        "version": "1.0.0",
        "status": "active",
        "team": {"name": "clinic"},
        "schema": [{"name": "subjects", "properties": properties}],
        "slaProperties": [{"property": "freshness", "value": 3, "unit": "d", "element": "subjects.seen_at"}],
    }


def _features(names: Sequence[str]) -> str:
    columns = "".join(f',\n    CAST("{name}" AS DOUBLE) AS "{name}"' for name in names)
    return (
        f"SELECT\n    subject,\n    seen_at AS event_timestamp,\n    seen_at AS created_timestamp{columns}\n"
        "FROM main.subjects\nORDER BY subject\n"
    )


def _spine(target: str, request: Sequence[str]) -> str:
    columns = "".join(f',\n    "{name}"' for name in (*request, target))
    return (
        f"SELECT\n    subject,\n    seen_at AS event_timestamp{columns},\n"
        "    seen_at + INTERVAL 1 MINUTE AS label_timestamp\nFROM main.subjects\nORDER BY event_timestamp, subject\n"
    )
