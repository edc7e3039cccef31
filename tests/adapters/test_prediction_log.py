"""The prediction log: spool files become Parquet, in a folder and in a bucket, whole, once, and whatever was torn."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from adapters.prediction_lines import label, line, spool
from servers.s3 import S3Bucket
from towpath import wiring
from towpath.adapters.prediction_log import PredictionLog, Shipped
from towpath.adapters.prediction_log_places import BucketPlace, FolderPlace, Place, place
from towpath.adapters.s3_client import S3Settings
from towpath.core.errors import BadInput, DeclarationError, NotFound, Unreachable, Unwritable
from towpath.settings import Settings


def s3_settings(bucket: S3Bucket) -> S3Settings:
    server = bucket.server
    return S3Settings(
        endpoint=server.endpoint, region="us-east-1", access_key=server.access_key, secret_key=server.secret_key
    )


@pytest.fixture(params=["folder", "rclone", "moto"])
def log_place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "folder":
        return FolderPlace(tmp_path / "log")
    bucket: S3Bucket = request.getfixturevalue(f"{request.param}_s3").new_bucket()
    return BucketPlace(bucket.name, "a/prefix", settings=s3_settings(bucket), cache=tmp_path / "cache")


def content(found: Place, folder: str = "flights") -> dict[str, list[dict[str, Any]]]:
    """Every file of the log, as rows by name."""
    rows = {}
    for stored in found.list(folder):
        file = found.local(stored)
        assert file is not None
        rows[stored.name] = pq.read_table(file).to_pylist()
    return rows


def test_lines_become_rows_by_kind_and_day(log_place: Place, tmp_path: Path) -> None:
    late = line(2, at=1_700_006_400.25, error="late", fallback="champion", predictions=None)
    many = line(1, units=["N1", None], buckets=[1, None], keys=["k", None], rows=[[1, "a"], [None, "b"]],
                predictions=[0.25, None], positions=[3, 0], features={"missing": 1})  # fmt: skip
    file = spool(tmp_path / "spool" / "w1" / "00000007.jsonl", [many, late, label(1), label(2, at=1_700_006_400)])
    assert PredictionLog(log_place).ship(file) == Shipped(rows=3, labels=2, torn=0)
    assert not file.exists()
    found = content(log_place)
    assert [name.rsplit("-", 1)[0] for name in found] == [
        "flights/labels/2023-11-14/w1-00000007",
        "flights/labels/2023-11-15/w1-00000007",
        "flights/predictions/2023-11-14/w1-00000007",
        "flights/predictions/2023-11-15/w1-00000007",
    ]
    first, second, third = [row for name, rows in found.items() if "/predictions/" in name for row in rows]
    assert (first["row"], second["row"], third["row"]) == (3, 0, 0)
    assert (first["unit"], second["unit"]) == ("N1", None)
    assert (first["prediction"], second["prediction"], third["prediction"]) == (0.25, None, None)
    assert json.loads(first["inputs"]) == {"x": 1, "carrier": "a"}
    assert json.loads(first["features"]) == {"missing": 1}
    assert (third["error"], third["fallback"], third["features"]) == ("late", "champion", None)
    assert third["at"].isoformat() == "2023-11-15T00:00:00.250000+00:00"
    one = next(rows for name, rows in found.items() if "/labels/" in name)[0]
    assert {name: one[name] for name in ("request", "row", "key", "label", "source")} == {
        "request": "r1",
        "row": 0,
        "key": None,
        "label": 1,
        "source": "feedback",
    }


def test_a_file_shipped_twice_is_the_same_object(log_place: Place, tmp_path: Path) -> None:
    file = tmp_path / "spool" / "w1" / "1.jsonl"
    lines = [line(number) for number in range(50)]
    PredictionLog(log_place).ship(spool(file, lines))
    before = [(stored.name, stored.size, _bytes(log_place, stored)) for stored in log_place.list("flights")]
    PredictionLog(log_place).ship(spool(file, lines))
    assert [(stored.name, stored.size, _bytes(log_place, stored)) for stored in log_place.list("flights")] == before


def _bytes(found: Place, stored: Any) -> bytes:
    file = found.local(stored)
    assert file is not None
    return file.read_bytes()


def test_another_workers_file_of_the_same_name_replaces_nothing(log_place: Place, tmp_path: Path) -> None:
    file = tmp_path / "spool" / "w1" / "1.jsonl"
    PredictionLog(log_place).ship(spool(file, [line(1)]))
    PredictionLog(log_place).ship(spool(file, [line(2)]))
    assert sorted(rows[0]["request"] for rows in content(log_place).values()) == ["r1", "r2"]


@pytest.mark.parametrize(
    "torn",
    [
        b'{"v":1,"request":"r',
        b"\xff\xfe\x00",
        b"[]",
        json.dumps(line(1) | {"v": 2}).encode(),
        json.dumps(line(1) | {"at": 1e300}).encode(),
        json.dumps(line(1) | {"project": "../up"}).encode(),
        json.dumps(line(1) | {"keys": []}).encode(),
        json.dumps(line(1) | {"rows": [[1]]}).encode(),
        json.dumps(line(1) | {"arm": "both"}).encode(),
        json.dumps(label(1) | {"label": 2}).encode(),
        json.dumps(label(1) | {"request": None}).encode(),
    ],
)
def test_what_cannot_be_read_is_set_aside_and_the_rest_kept(tmp_path: Path, torn: bytes) -> None:
    file = spool(tmp_path / "spool" / "w1" / "1.jsonl", [line(1), line(2)])
    whole = file.read_bytes()
    file.write_bytes(whole + torn)
    log = FolderPlace(tmp_path / "log")
    assert PredictionLog(log).ship(file) == Shipped(rows=2, labels=0, torn=1)
    assert file.with_suffix(".torn").read_bytes() == torn + b"\n"
    assert not file.exists()
    assert [len(rows) for rows in content(log).values()] == [2]


def test_a_file_with_nothing_in_it_ships_nothing(tmp_path: Path) -> None:
    file = spool(tmp_path / "spool" / "w1" / "1.jsonl", [])
    assert PredictionLog(FolderPlace(tmp_path / "log")).ship(file) == Shipped(rows=0, labels=0, torn=0)
    assert not file.exists()
    assert content(FolderPlace(tmp_path / "log")) == {}


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no spool file"):
        PredictionLog(FolderPlace(tmp_path / "log")).ship(tmp_path / "w1" / "1.jsonl")


def test_a_log_that_cannot_be_written_keeps_the_spool_file(tmp_path: Path, moto_s3: Any) -> None:
    file = spool(tmp_path / "spool" / "w1" / "1.jsonl", [line(1)])
    (tmp_path / "taken").write_text("a file where the folder should be")
    with pytest.raises(Unwritable, match="Cannot write to"):
        PredictionLog(FolderPlace(tmp_path / "taken")).ship(file)
    nobody = S3Settings(endpoint="http://127.0.0.1:9", region="x", access_key="a", secret_key="b", attempts=1)
    with pytest.raises(Unreachable):
        PredictionLog(BucketPlace("b", "", settings=nobody, cache=tmp_path / "cache")).ship(file)
    assert file.exists()


_SHIP = """
import sys
from pathlib import Path
from towpath.adapters.prediction_log import PredictionLog
from towpath.adapters.prediction_log_places import FolderPlace

log = PredictionLog(FolderPlace(Path(sys.argv[2])))
sys.stdout.write("ready\\n"); sys.stdout.flush()
for file in sorted(Path(sys.argv[1]).glob("*/*.jsonl")):
    log.ship(file)
"""


@pytest.mark.parametrize("after", [0.0, 0.01, 0.03, 0.06, 0.1, 0.2])
def test_killed_while_shipping_loses_and_doubles_nothing(tmp_path: Path, after: float) -> None:
    folder, root = tmp_path / "spool", tmp_path / "log"
    for number in range(40):
        spool(folder / "w1" / f"{number:08}.jsonl", [line(number * 100 + one) for one in range(100)])
    command = [sys.executable, "-c", _SHIP, str(folder), str(root)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, env=_environment())
    assert child.stdout is not None
    child.stdout.readline()
    time.sleep(after)
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    for stored in FolderPlace(root).list("flights"):
        pq.read_table(root / stored.name)  # what is under its name is whole
    subprocess.run(command, check=True, capture_output=True, env=_environment())
    requests = [row["request"] for rows in content(FolderPlace(root)).values() for row in rows]
    assert sorted(requests) == sorted(f"r{number}" for number in range(4_000))
    assert list(folder.glob("*/*.jsonl")) == []


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}


def test_batch_rows_go_the_same_way_under_a_name_of_their_own(log_place: Place) -> None:
    log = PredictionLog(log_place)
    rows = [line(1), line(2)]
    assert log.write(rows, name="batch-1f2e") == Shipped(rows=2, labels=0, torn=0)
    before = content(log_place)
    log.write(rows, name="batch-1f2e")
    assert content(log_place) == before
    assert list(before) == ["flights/predictions/2023-11-14/batch/batch-1f2e.parquet"]
    with pytest.raises(BadInput, match=r"Line 1 .* is not of its form: .*arm"):
        log.write([line(1), line(2, arm="neither")], name="x")
    with pytest.raises(BadInput, match=r"'\.\./x' cannot name a file"):
        log.write(rows, name="../x")


def test_wiring_opens_a_folder_or_a_bucket_and_nothing_else(tmp_path: Path) -> None:
    settings = Settings.read({"TOWPATH_ACTOR": "test"}, folder=tmp_path)
    file = spool(tmp_path / "spool" / "w1" / "1.jsonl", [line(1)])
    assert wiring.open_prediction_log(settings).ship(file).rows == 1
    assert len(list((tmp_path / ".towpath" / "predictions").rglob("*.parquet"))) == 1
    with pytest.raises(DeclarationError, match=r"TOWPATH_PREDICTIONS has the scheme 'gs'.*s3://bucket/prefix"):
        place("gs://bucket", s3=S3Settings(), cache=tmp_path)


def test_leftovers_of_killed_writers_are_swept(tmp_path: Path) -> None:
    incoming = tmp_path / "log" / ".incoming"
    incoming.mkdir(parents=True)
    for name, age in (("living", 0), ("left", 7_200)):
        (incoming / name).write_bytes(b"half")
        os.utime(incoming / name, (time.time() - age,) * 2)
    PredictionLog(FolderPlace(tmp_path / "log")).ship(spool(tmp_path / "spool" / "w" / "1.jsonl", [line(1)]))
    assert [file.name for file in incoming.iterdir()] == ["living"]


def test_a_bucket_is_read_through_a_cache(rclone_s3: Any, tmp_path: Path) -> None:
    bucket: S3Bucket = rclone_s3.new_bucket()
    log = BucketPlace(bucket.name, "", settings=s3_settings(bucket), cache=tmp_path / "cache")
    PredictionLog(log).ship(spool(tmp_path / "spool" / "w" / "1.jsonl", [line(1)]))
    (stored,) = log.list("flights")
    first = log.local(stored)
    bucket.delete(stored.name)
    assert log.local(stored) == first
    assert log.list("flights") == []
    other = BucketPlace(bucket.name, "", settings=s3_settings(bucket), cache=tmp_path / "other")
    assert other.local(stored) is None


WINE = {
    "classes": ["red", "rosé", "white"],
    "units": ["N1", "N2"],
    "buckets": [None, None],
    "keys": ["k1", "k2"],
    "rows": [[1, "a"], [2, "b"]],
    "predictions": [0.2, 0.7, 0.1, 0.4, 0.2, 0.4],
}


def test_rows_of_several_classes_bring_columns_of_their_own(tmp_path: Path) -> None:
    log = FolderPlace(tmp_path / "log")
    ours = [line(1, **WINE), line(2, **WINE | {"predictions": None, "error": "timeout"}), label(1), label(2)]
    ours[3] |= {"label": None, "class": "white"}
    PredictionLog(log).ship(spool(tmp_path / "w1" / "1.jsonl", ours))
    PredictionLog(log).ship(spool(tmp_path / "w1" / "2.jsonl", [line(3), label(3)]))
    classed, plain = content(log, "flights/predictions").values()
    truth, number = content(log, "flights/labels").values()
    assert [(row["predicted"], row["prediction"], row["probabilities"]) for row in classed] == [
        ("rosé", 0.7, [("red", 0.2), ("rosé", 0.7), ("white", 0.1)]),
        ("red", 0.4, [("red", 0.4), ("rosé", 0.2), ("white", 0.4)]),  # of two alike the first
        (None, None, None),
        (None, None, None),
    ]
    assert [(row["label"], row["class"]) for row in truth] == [(1, None), (None, "white")]
    assert not {"predicted", "probabilities"} & plain[0].keys()
    assert "class" not in number[0]


@pytest.mark.parametrize(
    "wrong",
    [
        {"predictions": [0.2, 0.7]},
        {"predictions": [0.2, 0.7, None, 0.4, 0.2, 0.4]},
        {"classes": ["red", "red", "white"]},
    ],
)
def test_lines_whose_probabilities_do_not_fit_are_set_aside(tmp_path: Path, wrong: dict[str, Any]) -> None:
    file = spool(tmp_path / "w1" / "1.jsonl", [line(1, **WINE | wrong), {**label(1), "class": "red"}])
    assert PredictionLog(FolderPlace(tmp_path / "log")).ship(file) == Shipped(rows=0, labels=0, torn=2)
