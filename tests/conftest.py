"""Servers that tests may ask for, the environment that all of them run in, and which of them share what was built."""

from __future__ import annotations

from pathlib import Path

import pytest

from towpath import telemetry

pytest_plugins = ["servers.oidc", "servers.postgres", "servers.redis", "servers.s3"]

telemetry.silence()

_SHARING = {"bypass", "console", "docs", "flows", "gateway", "path", "reconcile"}
"""Folders whose tests share something that takes long to build: each is one process' work (`--dist loadgroup`)."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        folder = item.path.relative_to(Path(__file__).parent).parts[0]
        if folder in _SHARING:
            item.add_marker(pytest.mark.xdist_group(folder))
