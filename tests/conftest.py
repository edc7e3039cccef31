"""Servers that tests may ask for, and the environment that all of them run in."""

from __future__ import annotations

from towpath import telemetry

pytest_plugins = ["servers.oidc", "servers.postgres", "servers.redis", "servers.s3"]

telemetry.silence()
