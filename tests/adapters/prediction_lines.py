"""Lines of a gateway's spool, as objects and as files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

AT = 1_700_000_000.5  # 2023-11-14, 22:13 UTC


def line(number: int, **changed: Any) -> dict[str, Any]:
    """A request of one row that the champion answered."""
    return {
        "v": 1,
        "request": f"r{number}",
        "at": AT,
        "project": "flights",
        "rollout": "flights-1",
        "generation": 2,
        "step": 1,
        "arm": "champion",
        "model": "sha256:1",
        "candidate": "flights-abc",
        "version": "3",
        "weight": 500,
        "units": [f"N{number}"],
        "buckets": [number % 10_000],
        "keys": [f"k{number}"],
        "columns": ["x", "carrier"],
        "rows": [[1.5, "AA"]],
        "predictions": [0.5],
        "latency_ms": 1.25,
        "fallback": None,
        "error": None,
        "features": None,
    } | changed


def label(number: int, **changed: Any) -> dict[str, Any]:
    """What came true of that request."""
    return {
        "v": 1,
        "at": AT,
        "project": "flights",
        "request": f"r{number}",
        "row": 0,
        "key": None,
        "label": 1,
        "source": "feedback",
    } | changed


def spool(file: Path, lines: Iterable[Mapping[str, Any]]) -> Path:
    """A finished spool file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{json.dumps(one)}\n" for one in lines), encoding="utf-8")
    return file
