"""Canary values in masked columns go the whole path, and no byte of what it leaves behind holds one."""

from __future__ import annotations

import logging
import struct
from pathlib import Path
from typing import Any

import pytest
import yaml

from masking.bytes_of import places
from path import small
from towpath.core.evidence import Candidate, Outcome
from towpath.core.gates import Stage
from towpath.core.masking import PSEUDONYM
from towpath.path import WATCH
from towpath.stages.sequence import step
from towpath.stages.serving import approved

# what the services themselves warn of
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.filterwarnings("ignore")]

BIRD = "Kanarienvogel"
NEEDLES = {
    "text": BIRD.encode(),
    "number": b"987654321",
    "float": struct.pack("<d", 987654321.25),
    "day": b"1947-03-17",
}
OWNERS = {
    "owner_email": f"{BIRD}@example.org",
    "owner_phone": f"0151 {BIRD}",
    "owner_born": "1947-03-17",
    "owner_income": "987654321.25",
    "owner_kind": "person",
}


def mask(value: Any) -> list[dict[str, Any]]:
    return [{"property": "mask", "value": value}]


def column(name: str, kind: str, value: Any) -> dict[str, Any]:
    return {"name": name, "logicalType": kind, "tags": ["pii"], "customProperties": mask(value)}


def edited(file: Path, change: Any) -> None:
    document = yaml.safe_load(file.read_text(encoding="utf-8"))
    change({one["name"]: one for one in document["schema"][0]["properties"]}, document["schema"][0]["properties"])
    file.write_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), encoding="utf-8")


def plant(project: Path) -> None:
    """Every registration becomes a canary, the key of a feature view; aircraft get owners; three are set aside."""

    def flights(_: int, row: dict[str, str]) -> dict[str, str]:
        return {**row, "tailnum": row["tailnum"] and f"{BIRD}-{row['tailnum']}"}

    for name in small.MONTHS:
        small.rewrite(project / "landing" / "flights" / name, flights)
    planes = project / "landing" / "planes.csv"
    header, *lines = planes.read_text(encoding="utf-8").splitlines()
    rows = [
        f"{BIRD}-{line},{','.join([*list(OWNERS.values())[:-1], 'unknown' if number < 3 else 'person'])}"
        for number, line in enumerate(lines)
    ]
    planes.write_text("\n".join([f"{header},{','.join(OWNERS)}", *rows]) + "\n", encoding="utf-8")


def declare(project: Path, *, masked: bool) -> None:
    """The contracts of what was planted. Unmasked they call nothing personal: for the control."""
    kind = {
        "name": "owner_kind",
        "logicalType": "string",
        "quality": [
            {"metric": "invalidValues", "arguments": {"validValues": ["person"]}, "mustBeLessThan": 50,
             "unit": "percent", "customProperties": [{"property": "quarantine", "value": True}]}
        ],
    }  # fmt: skip
    owners = [
        column("owner_email", "string", "drop"),
        column("owner_phone", "string", {"first": 4}),
        column("owner_born", "date", "year"),
        column("owner_income", "number", {"bucket": 1_000_000_000}),
        kind,
    ]

    def tail(properties: dict[str, Any], listed: list[Any]) -> None:
        found = properties["tailnum"]
        found.pop("logicalTypeOptions")
        if masked:
            found["customProperties"] = [*found.get("customProperties", []), *mask("pseudonym")]
            found["classification"] = "personal"

    def aircraft(properties: dict[str, Any], listed: list[Any]) -> None:
        tail(properties, listed)
        for one in owners:
            if not masked:
                one.pop("tags", None)
                one.pop("customProperties", None)
            listed.append(one)

    contracts = project / "feature_repo" / "contracts"
    edited(contracts / "flights.odcs.yaml", tail)
    edited(contracts / "planes.odcs.yaml", aircraft)


@pytest.mark.exhaustive
def test_no_byte_of_the_whole_path_holds_a_masked_value(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    project = small.build(tmp_path / "flights")
    plant(project)
    declare(project, masked=True)
    state = tmp_path / "state"
    heard = small.Heard()
    with small.opened(project, state, progress=heard) as work:
        candidate = small.walk(work)
        refused = [one.reason for one in candidate.entries[-1].findings if one.outcome is not Outcome.PASS]
        assert candidate.outcome is Outcome.PASS, refused
        assert candidate.entries[-1].stage == Stage.REGISTER
        small.crown(candidate, work)
        _planted_values_went_along(candidate, work)
    with small.opened(project, state, as_of=small.WATCHED, order=WATCH, progress=heard) as work:
        watched = small.walk(work)
        assert watched.entries[-1].stage == Stage.MONITOR
    printed = capfd.readouterr()
    (state / "said.txt").write_text(f"{heard}\n{caplog.text}\n{printed.out}\n{printed.err}", encoding="utf-8")
    assert places(tmp_path, NEEDLES, outside=[project / "landing"]) == {}


def _planted_values_went_along(candidate: Candidate, work: Any) -> None:
    """The masked columns are there, down to the training set; and rows of them were set aside."""
    import pyarrow.parquet as pq

    validated = candidate.entry(Stage.VALIDATE)
    (aside,) = [one for one in validated.subjects if one.kind == "quarantine" and one.name == "planes"]
    rows = pq.read_table(work.ports.objects.fetch(aside.digest)).to_pylist()
    assert len(rows) == 3
    for row in rows:
        assert PSEUDONYM.fullmatch(row["tailnum"])
        assert (row["owner_phone"], str(row["owner_born"]), row["owner_income"]) == ("0151", "1947-01-01", 0.0)
        assert "owner_email" not in row
    facts = candidate.entry(Stage.INGEST).facts["masks"]
    assert facts["planes"]["columns"]["tailnum"] == {"method": "pseudonym", "key": "default"}  # type: ignore[call-overload, index]
    served = approved(candidate).masks
    assert {name: mask.method for name, mask in served.items()} == {
        "tailnum": "pseudonym",
        "owner_email": "drop",
        "owner_phone": "first",
        "owner_born": "year",
        "owner_income": "bucket",
    }
    # the aircraft's age is read over the pseudonym: without a join every row would lack it
    train = next(one for one in candidate.entry(Stage.FEATURIZE).subjects if one.name == "train")
    frame = pq.read_table(work.ports.objects.fetch(train.digest)).to_pandas()
    ages = [name for name in frame.columns if "age" in name]
    assert ages
    assert frame[ages[0]].notna().mean() > 0.5


def test_the_search_finds_what_is_not_masked(tmp_path: Path) -> None:
    project = small.build(tmp_path / "flights")
    plant(project)
    declare(project, masked=False)
    with small.opened(project, tmp_path / "state") as work:
        candidate = Candidate(project=work.name)
        for stage in (Stage.INGEST, Stage.VALIDATE):
            candidate = step(stage, candidate, work)
    found = places(tmp_path, NEEDLES, outside=[project / "landing"])
    assert set(found) == set(NEEDLES)
    for name in ("text", "number", "day"):
        assert any(place.partition("|")[2] for place in found[name]), f"{name}: within Parquet"
