"""The setting that lets an identity sign: read, shown, and refused in sentences."""

from __future__ import annotations

from pathlib import Path

import pytest

from towpath.core.errors import DeclarationError
from towpath.core.keyless import Keyless, parsed
from towpath.core.pkcs11 import KeyUri
from towpath.settings import Settings

SETTING = "TOWPATH_MODEL_KEY"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("sigstore:/etc/trust.json", Keyless(config="/etc/trust.json")),
        (
            "sigstore:/etc/my%20trust.json?identity-token=file:/run/token",
            Keyless(config="/etc/my trust.json", token_file="/run/token"),
        ),
        (
            "sigstore:/trust.json?identity-token=file:/run/to%23ken%3F",
            Keyless(config="/trust.json", token_file="/run/to#ken?"),
        ),
    ],
)
def test_a_setting_is_read_and_shown(text: str, found: Keyless) -> None:
    assert parsed(text, setting=SETTING) == found
    assert found.text() == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("sigstore:", "names no trust configuration"),
        ("sigstore:trust.json", "names no trust configuration"),
        ("sigstore:/trust.json?token=file:/t", "not known"),
        ("sigstore:/trust.json?identity-token=file:/t&identity-token=file:/t", "twice"),
        ("sigstore:/trust.json?identity-token=eyJhbGciOi", "no file by its whole path"),
        ("sigstore:/trust.json?identity-token=file:token", "no file by its whole path"),
        ("sigstore:/trust.json?identity-token=file://host/t", "no file by its whole path"),
        ("sigstore:/trust.json?identity-token=file:/run/to#ken", "no file by its whole path"),
        ("sigstore:/trust.json?identity-token=file:/run/to?ken", "no file by its whole path"),
    ],
)
def test_what_is_not_understood_is_refused_and_no_token_is_shown(text: str, why: str) -> None:
    with pytest.raises(DeclarationError, match=why) as refused:
        parsed(text, setting=SETTING)
    assert "eyJhbGciOi" not in str(refused.value) + repr(refused.value.__dict__)
    assert refused.value.hint


def test_the_scheme_decides_what_signs(tmp_path: Path) -> None:
    def key(text: str) -> object:
        return Settings.read({SETTING: text}, folder=tmp_path).model_key

    assert isinstance(key("sigstore:/etc/trust.json"), Keyless)
    assert isinstance(key("pkcs11:token=a;object=b?module-path=/m.so"), KeyUri)
    assert Settings.read({"TOWPATH_MODEL_TRUST": "trust.yaml"}, folder=tmp_path).model_trust == tmp_path / "trust.yaml"
    with pytest.raises(DeclarationError, match="no PKCS #11 URI"):
        key("kms://projects/acme")
