"""What a PKCS #11 URI may say of a signing key, and that a PIN is never in a setting that is shown."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from towpath import wiring
from towpath.core.errors import DeclarationError, Misconfigured
from towpath.core.pkcs11 import KeyUri, parsed
from towpath.ports import Purpose
from towpath.settings import Settings

MODULE = "module-path=/usr/lib/softhsm/libsofthsm2.so"
GOOD = f"pkcs11:token=models;object=release?{MODULE}"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (GOOD, {"token": "models", "label": "release"}),
        (f"pkcs11:slot-id=7;id=%01%FF;type=private?{MODULE}", {"slot": 7, "identity": b"\x01\xff"}),
        (
            f"pkcs11:token=a%20b%3B;object=r%C3%A9?{MODULE}&pin-source=file:/run/pin",
            {"token": "a b;", "label": "ré", "pin_file": "/run/pin"},
        ),
    ],
)
def test_a_uri_says_which_key(text: str, found: dict[str, object]) -> None:
    uri = parsed(text, setting="TOWPATH_MODEL_KEY")
    assert uri == KeyUri(module="/usr/lib/softhsm/libsofthsm2.so", **found)  # type: ignore[arg-type]
    assert parsed(uri.text(), setting="TOWPATH_MODEL_KEY") == uri
    assert "1%264" in uri.text(pin="1&4")
    assert "pin-source" not in uri.text(pin="1&4")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("/keys/model.key", "is no PKCS #11 URI"),
        (f"pkcs11:object=release?{MODULE}", "names no token"),
        (f"pkcs11:token=models?{MODULE}", "names no key"),
        ("pkcs11:token=models;object=release", "names no module"),
        ("pkcs11:token=models;object=release?module-path=softhsm.so", "names no module"),
        (f"pkcs11:token=models;object=release;serial=1?{MODULE}", "'serial' that is not known"),
        (f"pkcs11:token=models;object=release?{MODULE}&module-name=x", "'module-name' that is not known"),
        (f"pkcs11:token=models;object=a;object=b?{MODULE}", "object twice"),
        (f"pkcs11:slot-id=one;object=a?{MODULE}", "no number"),
        (f"pkcs11:token=models;object=a;type=cert?{MODULE}", "names a cert"),
        (GOOD + "&pin-source=https://vault/pin", "pin-source that is no file"),
    ],
)
def test_a_uri_that_is_not_understood_is_refused(text: str, why: str) -> None:
    with pytest.raises(DeclarationError, match=why):
        Settings.read({"TOWPATH_MODEL_KEY": text}, folder=Path("/"))


def test_a_pin_in_the_uri_is_refused_and_not_shown() -> None:
    with pytest.raises(DeclarationError, match="holds a PIN") as refused:
        Settings.read({"TOWPATH_MODEL_KEY": GOOD + "&pin-value=48151623"}, folder=Path("/"))
    assert "48151623" not in repr(refused.value.__dict__) + str(refused.value)
    for wrong in (
        GOOD.removeprefix("pkcs11:") + "&pin-value=48151623",
        GOOD + "&pin-source=48151623",
        GOOD + "&pin-source=data:48151623",
        GOOD + "&48151623",
        "48151623",
    ):
        with pytest.raises(DeclarationError) as refused:
            Settings.read({"TOWPATH_MODEL_KEY": wrong}, folder=Path("/"))
        assert "48151623" not in repr(refused.value.__dict__) + str(refused.value), wrong
    settings = Settings.read({"TOWPATH_MODEL_KEY": GOOD, "TOWPATH_MODEL_PIN": "48151623"}, folder=Path("/"))
    assert settings.model_pin == "48151623"
    assert "48151623" not in repr(settings)


def test_a_pins_file_is_its_owners_alone(tmp_path: Path) -> None:
    from towpath.adapters.keys_pkcs11_token import pin_of

    file = tmp_path / "pin"
    uri = parsed(f"{GOOD}&pin-source=file:{file}", setting="TOWPATH_MODEL_KEY")
    with pytest.raises(Misconfigured, match="cannot be read"):
        pin_of(uri, None)
    file.write_text("48151623\n")
    file.chmod(0o640)
    with pytest.raises(Misconfigured, match="can be read by others"):
        pin_of(uri, None)
    file.chmod(0o600)
    assert pin_of(uri, None) == "48151623"
    assert pin_of(uri, "environment") == "environment"
    with pytest.raises(Misconfigured, match="There is no PIN"):
        pin_of(parsed(GOOD, setting="TOWPATH_MODEL_KEY"), None)


def test_without_the_library_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PyKCS11", None)
    given = {"TOWPATH_STATE": str(tmp_path), "TOWPATH_MODEL_KEY": GOOD, "TOWPATH_MODEL_PIN": "48151623"}
    keys = wiring.open_keys(Settings.read(given, folder=tmp_path))
    with pytest.raises(Misconfigured, match="PyKCS11") as refused:
        keys.sign(Purpose.MODEL, b"text")
    assert "towpath[pkcs11]" in refused.value.hint
