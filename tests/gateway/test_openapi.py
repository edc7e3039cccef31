"""schemathesis against the gateway's own description: no server error, and every answer is as described."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from gateway.served import Served

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = 25
PAGES = 17  # its own page schemathesis leaves out


@pytest.mark.parametrize("mode", [pytest.param("positive", marks=pytest.mark.slow), "negative"])
def test_every_page_answers_as_described(gateway: Served, mode: str) -> None:
    """Requests that follow the description, and such that break it in one place."""
    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{gateway.port}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) == PAGES
    for operation in operations:
        if mode == "negative" and operation.method != "post":
            continue  # nothing can be broken in a page without a body
        _ask(operation, schemathesis.GenerationMode(mode))
    assert gateway.process.poll() is None


def _ask(operation: Any, mode: schemathesis.GenerationMode) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        case.call_and_validate(checks=CHECKS)

    ask()
