"""A small real project: one table of visits as CSV, its contract, and a charter."""

from __future__ import annotations

from pathlib import Path

CHARTER = """\
towpath: 1
project: visits
owner: {name: Ada Lovelace, email: ada@example.com}
purpose: Tell which visits end in a purchase, while the visitor is still there.
risk: low
sources:
  visits: {uri: visits.csv, contract: visits.odcs.yaml}
features: {service: visit, rowId: visit_id, request: [pages]}
training: {target: bought, span: 30d, holdout: 7d}
gates: {rocAuc: 0.6, logLoss: 0.7, slices: [{by: pages, minRows: 50, rocAuc: 0.5}]}
monitoring: {window: 7d}
outcome: {metric: purchases, target: "1 % more", review: 90d}
"""

CONTRACT = """\
apiVersion: v3.1.0
kind: DataContract
id: visits
name: Visits
version: 1.0.0
status: active
team: {name: web}
schema:
  - name: visits
    properties:
      - {name: visit_id, logicalType: integer, required: true, primaryKey: true, primaryKeyPosition: 1}
      - {name: visited_at, logicalType: timestamp, required: true}
      - {name: pages, logicalType: integer, logicalTypeOptions: {minimum: 1}}
      - {name: email, logicalType: string, classification: restricted}
      - {name: bought, logicalType: integer}
slaProperties:
  - {property: freshness, value: 2, unit: d, element: visits.visited_at}
"""

HEADER = "visit_id,visited_at,pages,email,bought"
ROWS = [
    f"{number},2024-01-{1 + number % 28:02d}T10:00:00Z,{1 + number % 7},v{number}@example.com,{number % 2}"
    for number in range(56)
]


def write(folder: Path, *, rows: list[str] | None = None) -> Path:
    """Write the project; with `rows=[]` its table is empty."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [HEADER, *(ROWS if rows is None else rows)]
    (folder / "charter.yaml").write_text(CHARTER, encoding="utf-8")
    (folder / "visits.odcs.yaml").write_text(CONTRACT, encoding="utf-8")
    (folder / "visits.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
