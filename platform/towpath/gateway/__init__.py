"""The gateway: serves what the ledger proves, splits traffic by entity, and logs every prediction."""
