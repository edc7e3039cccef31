"""The types in a skops file that nobody reviewed, found by reading its schema; none of them is imported or made."""

from __future__ import annotations

from pathlib import Path

from towpath.adapters.mlflow_models_saved import TRUSTED_TYPES


def unreviewed(file: Path) -> list[str]:
    """Names of the types; of a file that skops cannot read, why not."""
    from skops.io import get_untrusted_types

    try:
        found = get_untrusted_types(file=file)
    except Exception as error:  # noqa: BLE001 - a file that cannot be audited is not let in
        return [f"unreadable ({type(error).__name__})"]
    return sorted(set(found) - set(TRUSTED_TYPES))
