"""PKCS #11 URIs (RFC 7512) of a signing key: the module that reaches the token, the token, the key, its PIN's file.

What is not understood is refused, not passed over: an attribute that is ignored would let in another token's key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote, unquote_to_bytes, urlsplit

from towpath.core.errors import DeclarationError

_SCHEME: Final = "pkcs11:"
_PATH: Final = ("token", "slot-id", "object", "id", "type")
_QUERY: Final = ("module-path", "pin-source")
_EXAMPLE: Final = "pkcs11:token=models;object=release-2026?module-path=/usr/lib/softhsm/libsofthsm2.so"


@dataclass(frozen=True, kw_only=True)
class KeyUri:
    """A private key on a token. It is found by `label`, `identity` (CKA_ID) or both; the token by `token` or `slot`."""

    module: str
    token: str | None = None
    slot: int | None = None
    label: str | None = None
    identity: bytes | None = None
    pin_file: str | None = None

    def text(self, *, pin: str | None = None) -> str:
        """The URI. With a PIN it is a secret, and for a library's eyes only."""
        path: dict[str, str | None] = {
            "token": self.token and quote(self.token, safe=""),
            "slot-id": None if self.slot is None else str(self.slot),
            "object": self.label and quote(self.label, safe=""),
            "id": "".join(f"%{byte:02X}" for byte in self.identity or b""),
        }
        query = {
            "module-path": quote(self.module, safe="/"),
            "pin-source": None
            if pin is not None or self.pin_file is None
            else quote(f"file:{self.pin_file}", safe="/:"),
            "pin-value": None if pin is None else quote(pin, safe=""),
        }
        return f"{_SCHEME}{_joined(path, ';')}?{_joined(query, '&')}"


def parsed(text: str, *, setting: str) -> KeyUri:
    """The key that a URI names. Raises `DeclarationError`, which never shows a PIN."""
    if "pin-value" in text:
        raise _bad(
            setting,
            "holds a PIN, and settings are shown",
            value="pin-value",
            hint="Give the PIN in TOWPATH_MODEL_PIN, or name a file that holds it: pin-source=file:/…",
        )
    if not text.startswith(_SCHEME):
        raise _bad(setting, "is no PKCS #11 URI", value=setting)  # what it is may be a PIN
    path, _, query = text.removeprefix(_SCHEME).partition("?")
    at, asked = _attributes(path, ";", _PATH, setting), _attributes(query, "&", _QUERY, setting)
    slot, module, identity = at.get("slot-id"), unquote(asked.get("module-path", "")), at.get("id")
    found = KeyUri(
        module=module,
        token=_text(at.get("token")),
        slot=int(slot) if slot is not None and slot.isdecimal() else None,
        label=_text(at.get("object")),
        identity=unquote_to_bytes(identity) if identity else None,
        pin_file=_file(asked.get("pin-source"), setting),
    )
    if slot is not None and found.slot is None:
        raise _bad(setting, "has a slot-id that is no number", value=slot)
    if at.get("type", "private") != "private":
        raise _bad(setting, f"names a {at['type']}, and a private key signs", value=at["type"], valid=("private",))
    if not module.startswith("/"):
        raise _bad(setting, "names no module by its whole path", value=module, hint=f"As here: {_EXAMPLE}")
    if found.token is None and found.slot is None:
        raise _bad(setting, "names no token", value=path, valid=("token=LABEL", "slot-id=NUMBER"))
    if found.label is None and found.identity is None:
        raise _bad(setting, "names no key", value=path, valid=("object=LABEL", "id=%01%02"))
    return found


def _attributes(text: str, mark: str, known: tuple[str, ...], setting: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in filter(None, text.split(mark)):
        name, equals, value = part.partition("=")
        if not equals:
            raise _bad(setting, "has a part without a name and `=`, which is not shown", value=setting, valid=known)
        if name not in known:
            raise _bad(setting, f"has an attribute {name!r} that is not known", value=name, valid=known)
        if name in found:
            raise _bad(setting, f"has the attribute {name} twice", value=name)
        found[name] = value
    return found


def _file(source: str | None, setting: str) -> str | None:
    if source is None:
        return None
    parts = urlsplit(unquote(source))
    if parts.scheme not in ("", "file") or parts.netloc or not parts.path.startswith("/"):
        said = "has a pin-source that is no file by its whole path"
        raise _bad(setting, said, value="pin-source", valid=("file:/…",))  # what it holds may be the PIN
    return parts.path


def _text(value: str | None) -> str | None:
    return unquote(value) or None if value is not None else None


def _joined(attributes: dict[str, str | None], mark: str) -> str:
    return mark.join(f"{name}={value}" for name, value in attributes.items() if value)


def _bad(
    setting: str, what: str, *, value: str, valid: tuple[str, ...] = (), hint: str = f"Write it as here: {_EXAMPLE}"
) -> DeclarationError:
    return DeclarationError(f"{setting} {what}.", value=value, valid=valid, hint=hint)
