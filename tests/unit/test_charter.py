"""The charter: every mistake at once, in words that help."""

from __future__ import annotations

import copy
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from towpath.core import charter as charters
from towpath.core.errors import DeclarationError, Problems

EXAMPLE = Path(__file__).parents[2] / "platform/towpath/example/project/charter.yaml"


@pytest.fixture
def document() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(EXAMPLE.read_text())
    return copy.deepcopy(loaded)


def problems(document: object) -> list[str]:
    with pytest.raises(Problems) as caught:
        charters.parse(document)
    return [str(problem) for problem in caught.value.problems]


def test_the_example_is_a_charter_and_holds_to_the_published_schema(document: dict[str, Any]) -> None:
    assert charters.parse(document).training.span == timedelta(days=120)
    jsonschema.validate(document, charters.json_schema())


def test_it_reads_what_it_writes(document: dict[str, Any]) -> None:
    parsed = charters.parse(document)
    assert charters.parse(parsed.model_dump(mode="json", by_alias=True)) == parsed


def test_the_schema_refuses_an_unknown_key_as_the_charter_does(document: dict[str, Any]) -> None:
    document["training"]["seeed"] = 1
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, charters.json_schema())
    (only,) = problems(document)
    assert only.startswith("charter.yaml: training.seeed: unknown key. Valid: entry, holdout, minRows, seed,")


@pytest.mark.parametrize(
    "path", [[], ["owner"], ["sources", "flights"], ["features"], ["gates"], ["gates", "champion"]]
)
def test_unknown_keys_are_refused_at_every_depth(document: dict[str, Any], path: list[str]) -> None:
    part = document
    for key in path:
        part = part[key]
    part["bogus"] = 1
    (only,) = problems(document)
    assert f"{'.'.join([*path, 'bogus'])}: unknown key. Valid: " in only


def test_every_mistake_is_told_at_once(document: dict[str, Any]) -> None:
    document["training"]["span"] = "120 days"
    document["gates"]["rocAuc"] = 1.5
    del document["owner"]["email"]
    document["risk"] = "none"
    found = problems(document)
    assert len(found) == 4
    assert any("'120 days' is no duration; write a whole number and s, m, h, d or w" in text for text in found)
    assert any("gates.rocAuc" in text and "1.5" in text for text in found)
    assert any(text.startswith("charter.yaml: owner.email: missing.") for text in found)
    assert any("risk" in text and "'low', 'medium' or 'high'" in text for text in found)


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("36h", timedelta(hours=36)),
        ("7d", timedelta(days=7)),
        ("2w", timedelta(weeks=2)),
    ],
)
def test_durations(document: dict[str, Any], text: str, length: timedelta) -> None:
    document["monitoring"]["window"] = text
    assert charters.parse(document).monitoring.window == length


def test_the_target_is_never_an_input(document: dict[str, Any]) -> None:
    document["features"]["request"].append("late")
    assert "the target is never an input" in problems(document)[0]


@pytest.mark.parametrize("nothing", [None, [], "text", 3])
def test_what_is_no_mapping_is_refused(nothing: object) -> None:
    with pytest.raises(DeclarationError, match="not a mapping"):
        charters.parse(nothing)


def test_a_wrong_key_deep_inside_names_the_valid_ones(document: dict[str, Any]) -> None:
    document["rollout"]["guardrails"][2]["cup"] = document["rollout"]["guardrails"][2].pop("cap")
    found = problems(document)
    assert any(".guardrails.2.mean.cup: unknown key" in text and "Valid: cap, labels, name" in text for text in found)
