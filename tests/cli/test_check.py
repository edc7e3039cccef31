"""`towpath check` on the example, whole and with every kind of mistake."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import towpath.example
from cli.conftest import Cli

Edit = Callable[[str, str, str], None]


@pytest.fixture
def project(place: Path) -> Path:
    """A copy of the example's project."""
    source = Path(towpath.example.__file__).parent / "project"
    return Path(shutil.copytree(source.resolve(), place / "project", symlinks=False))


@pytest.fixture
def edit(project: Path) -> Edit:
    def replace(file: str, old: str, new: str) -> None:
        text = (project / file).read_text(encoding="utf-8")
        assert old in text
        (project / file).write_text(text.replace(old, new), encoding="utf-8")

    return replace


def messages(cli: Cli) -> list[str]:
    ran = cli("check", "project", "--json")
    assert ran.code == 2
    return [problem["message"] for problem in ran.json["problems"]]


def test_the_example_holds_together(cli: Cli, project: Path, place: Path) -> None:
    ran = cli("check", "project", "--json")
    assert ran.code == 0, ran.json["problems"]
    assert ran.json["good"] is True
    assert ran.json["tables"]["flights"] == 19
    assert ran.json["inputs"][:2] == ["carrier", "origin"]
    assert "spine" in ran.json["transforms"]
    assert [item.name for item in place.iterdir()] == ["project"]
    assert "holds together" in cli("check", "project").out


def test_every_mistake_is_found_at_once(cli: Cli, project: Path, edit: Edit) -> None:
    edit("charter.yaml", "request: [carrier,", "request: [carier, seats,")
    edit("charter.yaml", "rowId: flight_id", "rowId: flight")
    edit("charter.yaml", "{by: origin,", "{by: orgin,")
    edit("train.py", "def fit(frame: pd.DataFrame, target: pd.Series, *,", "def fit(frame: pd.DataFrame, *,")
    edit("feature_repo/transforms/features/aircraft.sql", "SELECT", "SELEC")
    edit("feature_repo/transforms/features/origin_weather.sql", "wind_speed", "windspeed")
    found = "\n".join(messages(cli))
    for says in (
        "'carier', which transforms/spine.sql does not give",
        "'flight', which transforms/spine.sql does not give",
        "The model's column 'seats' comes from view aircraft and features.request",
        "gates.slices names 'orgin'",
        "cannot be called as fit(frame, target, params=…, seed=…)",
        "aircraft.sql does not run",
        "origin_weather.sql does not run",
    ):
        assert says in found


def test_mistakes_in_contracts_do_not_hide_those_in_features(cli: Cli, project: Path, edit: Edit) -> None:
    edit("feature_repo/contracts/planes.odcs.yaml", "logicalType: integer", "logicalType: intger")
    edit("charter.yaml", "service: flight_delay", "service: flight_delays")
    found = "\n".join(messages(cli))
    assert "intger" in found
    assert "There is no feature service 'flight_delays'" in found


def test_the_target_is_no_feature(cli: Cli, project: Path, edit: Edit) -> None:
    edit("charter.yaml", "target: late", "target: seats")
    found = "\n".join(messages(cli))
    assert "Feature view aircraft holds the target 'seats'" in found
    assert "training.target names 'seats', which transforms/spine.sql does not give" in found


def test_a_view_whose_feature_no_transform_gives(cli: Cli, project: Path, edit: Edit) -> None:
    edit("feature_repo/definitions.py", 'Field(name="seats"', 'Field(name="chairs"')
    assert "Feature view aircraft reads chairs, which no transform gives." in messages(cli)


def test_a_contract_whose_clock_staging_does_not_give(cli: Cli, project: Path, edit: Edit) -> None:
    edit("feature_repo/contracts/weather.odcs.yaml", "value: known_at", "value: observed_at")
    assert any("known at 'observed_at', but staging gives no such column" in message for message in messages(cli))


def test_a_rollout_of_a_unit_that_no_request_brings(cli: Cli, project: Path, edit: Edit) -> None:
    edit("charter.yaml", "unit: tailnum", "unit: tail_number")
    assert messages(cli) == ["rollout.unit names 'tail_number', which no request brings."]


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (lambda folder: (folder / "train.py").unlink(), "training.entry names train.py"),
        (lambda folder: (folder / "train.py").write_text("import nothing_of_the_kind"), "fails on import"),
        (lambda folder: (folder / "train.py").write_text("raise SystemExit(7)"), "fails on import: SystemExit: 7"),
        (lambda folder: (folder / "train.py").write_text("def train(): ..."), "has no function 'fit'"),
        (lambda folder: (folder / "feature_repo/definitions.py").write_text("1 / 0"), "ZeroDivisionError"),
        (lambda folder: (folder / "feature_repo/feature_store.yaml").unlink(), "There is no feature_store.yaml"),
        (lambda folder: (folder / "feature_repo/transforms/spine.sql").unlink(), "has no transforms/spine.sql"),
    ],
)
def test_a_missing_or_broken_part(cli: Cli, project: Path, break_it: Callable[[Path], None], says: str) -> None:
    break_it(project)
    found = messages(cli)
    assert any(says in message for message in found), found
    assert not any("towpath-check-" in message for message in found), "the scratch copy is nobody's business"
