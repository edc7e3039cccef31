from __future__ import annotations

from cli.conftest import cli, place

__all__ = ["cli", "place"]
