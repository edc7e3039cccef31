"""A contract that says everything a contract can say: a shop's customers and its orders."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from towpath.core.contract import Contract, parse


def _column(name: str, kind: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "logicalType": kind, **more}


def _custom(**values: Any) -> list[dict[str, Any]]:
    return [{"property": name, "value": value} for name, value in values.items()]


_CUSTOMERS = {
    "name": "customers",
    "properties": [
        _column("id", "integer", primaryKey=True),
        _column(
            "email",
            "string",
            unique=True,
            classification="confidential",
            logicalTypeOptions={"format": "email"},
        ),
    ],
}
_ORDERS = {
    "name": "orders",
    "customProperties": _custom(knownAt="placed_at", retention="their own"),
    "properties": [
        _column("id", "integer", primaryKey=True, customProperties=_custom(knownAt="created_at")),
        _column(
            "customer",
            "integer",
            required=True,
            relationships=[
                {"to": "customers.id", "customProperties": _custom(mustBeLessOrEqualTo=20, unit="percent")},
            ],
        ),
        _column("code", "string", logicalTypeOptions={"pattern": "^[A-Z]{2}(?:-[0-9]+)?:x$", "maxLength": 9}),
        _column("state", "string", enum=[{"value": "new"}, {"value": "it's paid"}]),
        _column(
            "size",
            "string",
            quality=[
                {
                    "metric": "invalidValues",
                    "arguments": {"validValues": ["S", "M"]},
                    "mustBeLessThan": 30,
                    "unit": "percent",
                },
            ],
        ),
        _column("amount", "number", logicalTypeOptions={"exclusiveMinimum": 0, "maximum": 1000.5, "multipleOf": 0.1}),
        _column(
            "pieces",
            "integer",
            logicalTypeOptions={"minimum": 1},
            quality=[
                {"metric": "invalidValues", "mustBeLessOrEqualTo": 1, "severity": "warning"},
            ],
        ),
        _column(
            "note",
            "string",
            quality=[
                {
                    "metric": "missingValues",
                    "arguments": {"missingValues": [None, "", "n/a"]},
                    "mustBeLessThan": 50,
                    "unit": "percent",
                },
            ],
        ),
        _column(
            "coupon",
            "string",
            quality=[
                {"metric": "duplicateValues", "mustBeLessThan": 3},
                {"metric": "nullValues", "mustBeLessOrEqualTo": 40, "unit": "percent"},
            ],
        ),
        _column("placed_on", "date", logicalTypeOptions={"minimum": "2024-01-01"}),
        _column(
            "placed_at",
            "timestamp",
            required=True,
            logicalTypeOptions={"timezone": True, "maximum": "2024-12-31T23:59:59+00:00"},
        ),
        _column(
            "packed_at", "timestamp", logicalTypeOptions={"timezone": False, "exclusiveMinimum": "2024-01-01T00:00:00Z"}
        ),
    ],
    "quality": [
        {"metric": "rowCount", "mustBeBetween": [8, 12]},
        {"metric": "duplicateValues", "arguments": {"properties": ["customer", "placed_at"]}, "mustBe": 0},
        {
            "type": "sql",
            "name": "not-before",
            "query": "SELECT count(*) FROM {object} WHERE packed_at < placed_on",
            "mustBe": 0,
            "description": "Nothing is packed before its day.",
        },
        {"type": "sql", "query": "SELECT avg(amount) FROM ${object}", "mustBeLessThan": 500, "severity": "warning"},
        {"type": "text", "description": "Orders are honest."},
    ],
}
_SHOP = {
    "apiVersion": "v3.1.0",
    "kind": "DataContract",
    "id": "shop",
    "version": "1.2.0",
    "status": "active",
    "team": {
        "name": "shop",
        "members": [{"username": "ann@example.com", "name": "Ann", "role": "Data owner"}],
    },
    "slaProperties": [{"property": "freshness", "value": 2, "unit": "d", "element": "orders.placed_at"}],
    "schema": [_CUSTOMERS, _ORDERS],
}


def document() -> dict[str, Any]:
    """The contract's document, to change at will."""
    return deepcopy(_SHOP)


def column(of: dict[str, Any], table: str, name: str) -> dict[str, Any]:
    """A column's part of a document."""
    schema = next(item for item in of["schema"] if item["name"] == table)
    found: dict[str, Any] = next(item for item in schema["properties"] if item["name"] == name)
    return found


def contract() -> Contract:
    return parse(document(), origin="shop.odcs.yaml")
