"""An online store that only Feast knows how to read: derived from its own, and for all we know laid out anew."""

from __future__ import annotations

from typing import Literal

from feast.infra.online_stores import sqlite


class OtherSqliteOnlineStoreConfig(sqlite.SqliteOnlineStoreConfig):
    """Its options."""

    type: Literal["adapters.online_unknown.OtherSqliteOnlineStore"] = "adapters.online_unknown.OtherSqliteOnlineStore"


class OtherSqliteOnlineStore(sqlite.SqliteOnlineStore):
    """Somebody else's store."""
