"""Switches off every service's phone-home. Called before any of the five services is imported, and nowhere else set."""

from __future__ import annotations

import os

SILENT = {
    "DO_NOT_TRACK": "1",  # evidently, prefect and others honour it
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "GX_ANALYTICS_ENABLED": "false",
    "FEAST_USAGE": "False",
}


def silence() -> None:
    """Set the switches for this process and its children."""
    os.environ.update(SILENT)
