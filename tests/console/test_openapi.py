"""schemathesis against the API's own description: no server error, and every answer is as described."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
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

from console.conftest import Server, build, served
from towpath.verbs.table import VERBS

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = 15
ADMIN = "everything"


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A town that may be changed at will."""
    with served(build(tmp_path_factory.mktemp("town")), tmp_path_factory.mktemp("log") / "log") as server:
        yield server


def operations(server: Server) -> list[Any]:
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    return [found.ok() for found in schema.get_all_operations()]


def test_every_verb_is_described(mine: Server) -> None:
    document = mine.ask("GET", "/openapi.json").json
    assert document["openapi"].startswith("3.1")
    described = {one["operationId"]: one for page in document["paths"].values() for one in page.values()}
    assert set(described) == set(VERBS)
    assert document["security"] == [{"bearer": []}]
    for name, one in described.items():
        assert one["summary"] == VERBS[name].about
        problems = {status for status in one["responses"] if status != "200"}
        assert {"401", "403", "404", "409", "422", "429", "503"} <= problems
        assert VERBS[name].changes == any(part["name"] == "Idempotency-Key" for part in one.get("parameters", []))


@pytest.mark.slow
@pytest.mark.parametrize("who", ["platform-admin@*", "release-manager@*", "auditor@*"])
@pytest.mark.parametrize("mode", ["positive", "negative"])
def test_every_page_answers_as_described(mine: Server, mode: str, who: str) -> None:
    """Requests that follow the description, and such that break it in one place, of those who may most."""
    headers = {"Authorization": f"Bearer {mine.town.tokens[who]}"}
    theirs = {"rollout-mirror", "reconcile"}  # MLflow's to answer
    asked = [one for one in operations(mine) if one.definition.raw["operationId"] not in theirs]
    assert len(asked) == len(VERBS) - len(theirs)
    for operation in asked:
        _ask(operation, schemathesis.GenerationMode(mode), headers)
    assert mine.process.poll() is None
    assert "Traceback" not in Path(mine.log).read_text()


def _ask(operation: Any, mode: schemathesis.GenerationMode, headers: dict[str, str]) -> None:
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
        case.call_and_validate(checks=CHECKS, headers=headers)

    ask()
