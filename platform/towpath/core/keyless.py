"""The setting that lets an identity sign, not a key: `sigstore:` and the deployment that certifies the identity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from towpath.core.errors import DeclarationError

SCHEME: Final = "sigstore:"
_TOKEN: Final = "identity-token"
_EXAMPLE: Final = "sigstore:/etc/sigstore/trust.json?identity-token=file:/var/run/secrets/sigstore/token"


@dataclass(frozen=True, kw_only=True)
class Keyless:
    """A Sigstore deployment, by the file of its ClientTrustConfig, and the file of the identity token.

    Without a `token_file` the token is the one that the continuous integration service gives its runs.
    """

    config: str
    token_file: str | None = None

    def text(self) -> str:
        """The setting. It holds no token."""
        named = "" if self.token_file is None else f"?{_TOKEN}=file:{quote(self.token_file)}"
        return f"{SCHEME}{quote(self.config)}{named}"


def parsed(text: str, *, setting: str) -> Keyless:
    """What the setting says. Raises `DeclarationError`, which shows no token."""
    place, _, query = text.removeprefix(SCHEME).partition("?")
    given: dict[str, str] = {}
    for part in filter(None, query.split("&")):
        name, _, value = part.partition("=")
        if name != _TOKEN or name in given:
            raise _bad(setting, "has an attribute that is not known, or one twice", value=setting)
        given[name] = value
    config = unquote(place)
    if not config.startswith("/"):
        raise _bad(setting, "names no trust configuration by its whole path", value=config)
    if _TOKEN not in given:
        return Keyless(config=config)
    source = urlsplit(given[_TOKEN])
    token_file = unquote(source.path)
    other = source.netloc or source.query or source.fragment
    if source.scheme != "file" or other or not token_file.startswith("/"):
        # What it holds may be the token.
        raise _bad(setting, f"has an {_TOKEN} that is no file by its whole path", value=_TOKEN)
    return Keyless(config=config, token_file=token_file)


def _bad(setting: str, what: str, *, value: str) -> DeclarationError:
    return DeclarationError(f"{setting} {what}.", value=value, valid=(_EXAMPLE,), hint=f"Write it as here: {_EXAMPLE}")
