"""`towpath schema`"""

from __future__ import annotations

from towpath.cli import options, output
from towpath.cli.exits import Exit


def schema(as_json: options.Json = False) -> int:  # noqa: ARG001 - it is JSON either way
    """Print the charter's JSON Schema, for editors that complete and check YAML.

    Example: towpath schema > charter.schema.json
    """
    from towpath.core.charter import json_schema

    output.emit(json_schema())
    return Exit.GOOD
