"""The file that says who vouches: noticed when it, or a file that it names, is another; and what it cannot spoil."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from supply.authority import Authority
from towpath.adapters.keys_local import LocalKeys
from towpath.adapters.keys_trust import Trust
from towpath.adapters.keys_vouched import VouchedKeys
from towpath.core.errors import Misconfigured
from towpath.ports import Purpose, Stamp

OLD = (1_600_000_000_000_000_000,) * 2
CONFIG = {"mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json"}


def named(folder: Path, *roots: str) -> str:
    for root in roots:
        Authority.root(root).write(folder / f"{root}.pem")
    return json.dumps({"authorities": [f"{root}.pem" for root in roots]})


def test_a_file_that_changes_while_it_is_read_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else who was taken out of it just then would be trusted until it changes once more."""
    file, read = tmp_path / "trust.yaml", yaml.safe_load
    file.write_text(named(tmp_path, "one", "two"))
    os.utime(file, ns=OLD)

    def late(text: str) -> object:
        found = read(text)
        file.write_text(json.dumps({"authorities": ["one.pem"]}))
        return found

    trust = Trust(file)
    monkeypatch.setattr(yaml, "safe_load", late)
    trust.read()
    monkeypatch.undo()
    assert [one.about for one in trust.read().entries.values()] == ["authority CN=one"]


def test_a_file_in_the_place_of_another_is_noticed_whatever_it_is_dated(tmp_path: Path) -> None:
    """Images, and stores that know no time, date every file alike."""
    file, other = tmp_path / "trust.yaml", tmp_path / "other.yaml"
    file.write_text(named(tmp_path, "one", "two"))
    other.write_text(json.dumps({"authorities": ["one.pem"]}))
    for one in (file, other):
        os.utime(one, ns=OLD)
    trust = Trust(file)
    assert len(trust.read().entries) == 2
    other.replace(file)
    assert len(trust.read().entries) == 1


def test_another_deployment_under_the_same_name_is_another_entry_whatever_it_is_dated(tmp_path: Path) -> None:
    """A gateway looks again at what it serves when the entries are others."""
    file, config, other = (tmp_path / name for name in ("trust.yaml", "sigstore.json", "other.json"))
    file.write_text(json.dumps({"identities": [{"identity": "a", "issuer": "b", "sigstore": config.name}]}))
    config.write_text(json.dumps(CONFIG))
    other.write_text(json.dumps({**CONFIG, "trustedRoot": {}}))
    for number, one in enumerate((config, other)):
        os.utime(one, ns=(number, number))
    trust = Trust(file)
    before = trust.read()
    time.sleep(0.02)  # longer than the file system's clock stands still
    other.replace(config)
    after = trust.read()
    assert before.identities[0].config != after.identities[0].config
    assert before.entries != after.entries


def test_keys_stay_trusted_whatever_is_wrong_with_the_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """And can be revoked: a slip in one file must not keep a gateway from noticing what another says."""
    local, file = LocalKeys(tmp_path / "keys"), tmp_path / "trust.yaml"
    file.write_text(named(tmp_path, "one"))
    keys = VouchedKeys(local, local, trust=Trust(file), clock=lambda: datetime.now(UTC))
    key = keys.rotate(Purpose.MODEL, at=datetime.now(UTC))
    assert len(keys.trusted(Purpose.MODEL)) == 2
    file.write_text("authorities: 1")
    for _ in range(2):
        assert keys.trusted(Purpose.MODEL) == {key.key_id: key}
    (said,) = caplog.messages
    assert "trust.yaml cannot be used" in said
    revoked = keys.revoke(key.key_id, at=datetime.now(UTC), after=1, reason="a stolen laptop")
    assert keys.trusted(Purpose.MODEL) == {key.key_id: revoked}
    stamp = Stamp(key_id="", signature=b"", material={"x509CertificateChain": {"certificates": []}})
    with pytest.raises(Misconfigured, match="cannot be used"):
        keys.vouched(stamp, b"")
