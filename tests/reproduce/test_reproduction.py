"""What moved is named, part by part; what is stored of a project's files depends on them alone."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from towpath.core import digest as digests
from towpath.core.errors import BadInput
from towpath.core.reproduction import Figure, Standing, What, changes, compare, summary
from towpath.stages import pins
from towpath.stages import reproduce_evidence as evidence

PARTS = st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=5)


def test_every_kind_of_difference_is_named() -> None:
    recorded = {
        What.DATA: {"flights": "5,000 rows (aaaaaaaaaaaa)"},
        What.FEATURES: {"train": "4,562 rows (cccccccccccc)"},
        What.LIBRARIES: {"numpy": "2.4.0", "scikit-learn": "1.9.1", "skops": "0.16.0"},
        What.SEED: {"": "2013"},
    }
    found = {
        What.DATA: {"flights": "4,999 rows (bbbbbbbbbbbb)"},
        What.LIBRARIES: {"numpy": "2.4.0", "scikit-learn": "1.8.0", "scipy": "1.17.0"},
        What.SEED: {"": "7"},
        What.PYTHON: {"": "3.12.1"},
    }
    told = {pin.what: pin for pin in compare(recorded, found)}
    assert list(told) == list(What)
    assert told[What.DATA].changes == ("flights: was 5,000 rows (aaaaaaaaaaaa), now 4,999 rows (bbbbbbbbbbbb)",)
    assert told[What.LIBRARIES].changes == (
        "scikit-learn: was 1.9.1, now 1.8.0",
        "scipy: not there before, now 1.17.0",
        "skops: was 0.16.0, now not there",
    )
    assert (told[What.SEED].standing, told[What.SEED].changes) == (Standing.MOVED, ("was 2013, now 7",))
    assert told[What.FEATURES].standing is Standing.NOT_HAD
    assert told[What.PYTHON].standing is Standing.NOT_PINNED


@given(PARTS, PARTS)
def test_equal_parts_and_only_they_are_the_same(one: dict[str, str], other: dict[str, str]) -> None:
    assert changes(one, one) == ()
    assert bool(changes(one, other)) == (one != other)
    (pin,) = (pin for pin in compare({What.DATA: one}, {What.DATA: other}) if pin.what is What.DATA)
    assert pin.standing is (Standing.SAME if one == other else Standing.MOVED)


def test_many_parts_are_counted_and_none_is_said() -> None:
    assert summary({"learning_rate": "0.1", "max_iter": "30"}) == "learning_rate 0.1, max_iter 30"
    assert summary({"": "2013"}) == "2013"
    assert summary({str(number): "x" for number in range(9)}) == "9 in all"
    assert summary({}) == "none"


def test_a_figure_is_the_same_to_the_last_bit() -> None:
    assert Figure(name="roc_auc", recorded=0.1 + 0.2, found=0.1 + 0.2).same
    assert not Figure(name="roc_auc", recorded=0.1 + 0.2, found=0.3).same


def test_a_parameter_is_the_same_as_the_ledger_keeps_it() -> None:
    declared = {"l2_regularization": 1.0, "max_iter": 30, "loss": "log_loss", "deep": {"of": [1e-3, None, True]}}
    kept = json.loads(rfc8785.dumps(declared))
    assert repr(kept["l2_regularization"]) == "1"
    assert evidence.parameters(declared) == evidence.parameters(kept)
    assert evidence.parameters(declared) != evidence.parameters({**declared, "max_iter": 31})


# --- what is stored ---------------------------------------------------------------------------------------------------


def _folder(root: Path) -> tuple[Path, list[str]]:
    (root / "parts").mkdir(parents=True)
    (root / "train.py").write_text("def fit(): ...\n")
    (root / "parts" / "größe.py").write_bytes(b"# \xff not UTF-8\n")
    return root, ["train.py", "parts/größe.py"]


def test_an_archive_depends_on_names_and_bytes_alone(tmp_path: Path) -> None:
    first, names = _folder(tmp_path / "one")
    second, _ = _folder(tmp_path / "two")
    os.utime(second / "train.py", (1, 1))
    (second / "train.py").chmod(0o755)
    digest = digests.of_tree(first, names=names)
    made = [
        pins.archive(folder, listed, tmp_path / f"{folder.name}.tar", digest=digest).read_bytes()
        for folder, listed in ((first, names), (second, names[::-1]))
    ]
    assert made[0] == made[1]
    files = pins.archived(tmp_path / "one.tar")
    assert files == {name: (first / name).read_bytes() for name in names}
    assert pins.contents_digest(files) == digest


def test_files_that_changed_meanwhile_are_not_stored(tmp_path: Path) -> None:
    folder, names = _folder(tmp_path / "one")
    digest = digests.of_tree(folder, names=names)
    (folder / "train.py").write_text("def fit(): return None\n")
    with pytest.raises(BadInput, match="changed while the path was running"):
        pins.archive(folder, names, tmp_path / "one.tar", digest=digest)


@pytest.mark.parametrize("name", ["../outside.py", "/etc/outside.py", "a/../../outside.py"])
def test_an_archive_that_reaches_outside_is_refused(name: str, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "bad.tar", "w") as bad:
        member = tarfile.TarInfo(name)
        member.size = 1
        bad.addfile(member, io.BytesIO(b"x"))
    if name.startswith("/"):  # it is taken for a name below the folder
        assert list(pins.archived(tmp_path / "bad.tar")) == ["etc/outside.py"]
        return
    with pytest.raises(BadInput, match="no archive"):
        pins.archived(tmp_path / "bad.tar")


def test_what_is_no_archive_is_said(tmp_path: Path) -> None:
    (tmp_path / "bad.tar").write_bytes(b"no archive at all")
    with pytest.raises(BadInput, match="no archive"):
        pins.archived(tmp_path / "bad.tar")
