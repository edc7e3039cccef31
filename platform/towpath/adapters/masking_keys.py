"""Keys of pseudonyms as files that only their owner reads, beside the keys that sign.

    <folder>/<name>.<version>.key     64 hex digits, mode 0600; the highest version is the current one

A removed file is a key that nobody has any more: its pseudonyms can never again be told from a value.
"""

from __future__ import annotations

import os
import re
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from towpath.core.errors import BadInput, Misconfigured, Unwritable
from towpath.core.masking import KEY_NAME, SECRET_BYTES, PseudonymKey

_FILE: Final = re.compile(r"(.+)\.([1-9]\d{0,8})\.key")


class LocalPseudonymKeys:
    """The port `PseudonymKeys` over a folder. `own`: of one person's installation, which makes keys at first use."""

    def __init__(self, folder: Path, *, own: bool) -> None:
        self._folder, self._own = folder, own

    @property
    def made_at_first_use(self) -> bool:
        return self._own

    def current(self, name: str) -> PseudonymKey | None:
        versions = self._versions(name)
        return self._read(name, versions[-1]) if versions else None

    def rotate(self, name: str, *, above: int = 0) -> PseudonymKey:
        if not KEY_NAME.fullmatch(name):
            raise BadInput(
                f"{name!r} is no name of a key.", value=name, hint="Small letters, digits, _ and -; a letter first."
            )
        version = max([above, *self._versions(name)]) + 1
        self._make(self._file(name, version))
        return self._read(name, version)

    def _file(self, name: str, version: int) -> Path:
        return self._folder / f"{name}.{version}.key"

    def _versions(self, name: str) -> list[int]:
        try:
            found = [_FILE.fullmatch(file.name) for file in self._folder.iterdir()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _unreadable(self._folder, error) from error
        return sorted(int(match[2]) for match in found if match and match[1] == name)

    def _read(self, name: str, version: int) -> PseudonymKey:
        file = self._file(name, version)
        try:
            mode, text = file.stat().st_mode, file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise _unreadable(file, error) from error
        if mode & 0o077:
            raise Misconfigured(
                f"The key {file} can be read by others.", value=oct(mode & 0o777), hint="Give it mode 600."
            )
        if not re.fullmatch(rf"[0-9a-f]{{{2 * SECRET_BYTES}}}", text):
            raise Misconfigured(
                f"{file} holds no key of pseudonyms.", value=str(file), hint="Restore it from where it is kept."
            )
        return PseudonymKey(name=name, version=version, secret=bytes.fromhex(text))

    def _make(self, file: Path) -> None:
        """A new secret in a new file, whole or not at all; of two that make it at once the first one's stands."""
        try:
            for folder in (file.parent.parent, file.parent):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, name = tempfile.mkstemp(dir=file.parent, prefix=".making-")  # mode 0600
            try:
                with os.fdopen(handle, "w", encoding="ascii") as stream:
                    stream.write(secrets.token_hex(SECRET_BYTES) + "\n")
                    stream.flush()
                    os.fsync(stream.fileno())
                with suppress(FileExistsError):
                    os.link(name, file)
            finally:
                Path(name).unlink()
        except OSError as error:
            raise Unwritable(f"The key file {file} cannot be written: {error.strerror}.", value=str(file)) from error


def _unreadable(file: Path, error: Exception) -> Misconfigured:
    return Misconfigured(f"The pseudonyms' keys in {file} cannot be read: {error}.", value=str(file))
