"""The keys of pseudonyms: files for their owner only, versions, and what is refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from towpath.adapters.masking_keys import LocalPseudonymKeys
from towpath.core.errors import BadInput, Misconfigured


@pytest.fixture
def keys(tmp_path: Path) -> LocalPseudonymKeys:
    return LocalPseudonymKeys(tmp_path / "keys" / "pseudonyms", own=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "pseudonyms"


def test_keys_are_made_and_read_by_name_and_version(keys: LocalPseudonymKeys, folder: Path) -> None:
    assert keys.current("crm") is None
    first = keys.rotate("crm")
    assert (first.name, first.version, len(first.secret)) == ("crm", 1, 32)
    assert keys.current("crm") == first
    assert keys.current("cr") is None
    second, other = keys.rotate("crm"), keys.rotate("crm-2")
    assert (second.version, other.version) == (2, 1)
    assert keys.current("crm") == second
    assert len({first.secret, second.secret, other.secret}) == 3
    assert keys.rotate("crm", above=11).version == 12
    assert sorted(file.name for file in folder.iterdir()) == ["crm-2.1.key", "crm.1.key", "crm.12.key", "crm.2.key"]


def test_only_their_owner_reads_them(keys: LocalPseudonymKeys, folder: Path) -> None:
    keys.rotate("crm")
    file = folder / "crm.1.key"
    assert (file.stat().st_mode & 0o777, folder.stat().st_mode & 0o777) == (0o600, 0o700)
    file.chmod(0o640)
    with pytest.raises(Misconfigured, match=r"crm\.1\.key can be read by others\. Give it mode 600\."):
        keys.current("crm")


def test_two_who_make_a_key_at_once_have_the_same(keys: LocalPseudonymKeys, folder: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: keys._make(folder / "crm.1.key"), range(16)))
    assert len(made) == 16
    assert [file.name for file in folder.iterdir()] == ["crm.1.key"]
    assert keys.current("crm") is not None


@pytest.mark.parametrize("text", ["", "ab" * 31, "zz" * 32, "AB" * 32])
def test_what_is_no_key_is_refused(keys: LocalPseudonymKeys, folder: Path, text: str) -> None:
    keys.rotate("crm")
    (folder / "crm.1.key").write_text(text)
    with pytest.raises(Misconfigured, match="holds no key of pseudonyms") as caught:
        keys.current("crm")
    assert not text or text not in str(caught.value)


@pytest.mark.parametrize("name", ["", "../x", "A", "a.1", "a" * 41])
def test_what_is_no_name_is_refused(keys: LocalPseudonymKeys, name: str) -> None:
    with pytest.raises(BadInput, match="is no name of a key"):
        keys.rotate(name)
