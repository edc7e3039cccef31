"""OpenSSF model signing over a folder: by a key in a file or on a PKCS #11 token, certified or not, or by an identity.

Nothing is left out of the signature but MLflow's note.

By default the library passes over `.git` and its like, so a file there would be part of a signed model unsigned; and it
reads from the signature itself which files to pass over. Here both are fixed by us.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import re
import tempfile
from pathlib import Path
from typing import Any, Final

from towpath.adapters.keys_certificates import material, read
from towpath.adapters.keys_pkcs11_token import TURN
from towpath.adapters.keys_sigstore import token_of, unsigned
from towpath.core.errors import IntegrityError, Misconfigured, TowpathError
from towpath.core.keyless import Keyless
from towpath.ports import Certified, CertifiedKey, TokenKey, TrustedKey
from towpath.ports.keys import Signatory

_GATE: Final = "integrity.model"
_CHANGED: Final = re.compile(r"""["']?Hash mismatch for \\?'(.+?)\\?':.*?(?=, ["'](?:Hash|Extra|Missing)|\]$)""")
_ALIKE: Final = {"method": "files", "hash_type": "sha256", "allow_symlinks": False}


class OpenSsfSigner:
    """The port `Signer` on the library `model-signing`."""

    def sign(self, folder: Path, *, key: Path | TokenKey | CertifiedKey | Keyless, bundle: Path) -> None:
        """Raises `IntegrityError` for a folder with links and `Misconfigured` for a key that it cannot use."""
        from model_signing import signing

        made: Any = signing.Config
        config = made().set_hashing_config(_hashing())
        if isinstance(key, CertifiedKey):
            self.sign(folder, key=key.key, bundle=bundle)
            _certify(bundle, key.certificate)
            return
        if isinstance(key, Keyless):
            _signed_by_identity(config, key, folder, bundle)
            return
        if isinstance(key, TokenKey):
            with TURN:
                wrong = _signed_by_token(config, key, folder, bundle)
                del config  # closes its session, and with it the login
            if wrong is not None:
                raise wrong
            return
        try:
            config.use_elliptic_key_signer(private_key=key)
        except (ValueError, TypeError, OSError) as error:
            raise Misconfigured(f"The model key {key} cannot sign models: {error}.", value=str(key)) from error
        _signed(config, folder, bundle)

    def verify(self, folder: Path, *, key: Signatory, bundle: Path) -> None:
        from model_signing import verifying

        _require_ours(bundle)
        with tempfile.NamedTemporaryFile(suffix=".pem") as file:
            given = key.pem if isinstance(key, TrustedKey) else key.roots if isinstance(key, Certified) else key.config
            file.write(given.encode())
            file.flush()
            made: Any = verifying.Config
            config = made().set_hashing_config(_hashing())
            try:
                with contextlib.redirect_stdout(io.StringIO()):
                    _verified_by(config, key, Path(file.name))
                    config.verify(folder, bundle)
            except Exception as error:  # whatever the library says, and it says it in many classes: it is not verified
                why = _CHANGED.sub(r"\1 is changed", str(error).removeprefix("Signature mismatch: "))
                raise _refused(why.strip() or f"key {key.key_id} did not make it", folder) from error


def _verified_by(config: Any, key: Signatory, file: Path) -> None:
    if isinstance(key, TrustedKey):
        config.use_elliptic_key_verifier(public_key=file)
    elif isinstance(key, Certified):
        if not key.roots:  # the library would trust every authority of the web
            raise ValueError("no authority is trusted")
        config.use_certificate_verifier(certificate_chain=[file])
    else:
        config.use_sigstore_verifier(identity=key.identity, oidc_issuer=key.issuer, trust_config=file)


def _certify(bundle: Path, certificate: Path) -> None:
    """Put the certificates into a bundle that the key signed.

    The signature is the same: it does not cover them. The library's own way wants a certificate of a key on a token in
    another encoding than it reads, and fails (1.1.1).
    """
    document = json.loads(bundle.read_text(encoding="utf-8"))
    document["verificationMaterial"] = material(read(certificate))
    bundle.write_text(json.dumps(document), encoding="utf-8")


def _signed_by_identity(config: Any, keyless: Keyless, folder: Path, bundle: Path) -> None:
    token = token_of(keyless)
    try:
        config.use_sigstore_signer(identity_token=token, trust_config=Path(keyless.config))
        _signed(config, folder, bundle)
    except Exception as error:
        raise unsigned(keyless, error) from error


def _signed_by_token(config: Any, key: TokenKey, folder: Path, bundle: Path) -> TowpathError | None:
    """What went wrong, without the error itself: it would keep the session, and may tell the PIN in the URI."""
    try:
        config.use_pkcs11_signer(pkcs11_uri=key.uri.text(pin=key.pin))
        _signed(config, folder, bundle)
    except IntegrityError as error:
        return IntegrityError(error.message, gate=error.gate, value=error.value)
    except Exception as error:  # noqa: BLE001 - in whatever class it says it
        uri = key.uri.text()
        return Misconfigured(
            f"The model key {uri} cannot sign models: {type(error).__name__}.",
            value=uri,
            hint="Check that the token is there and that its key signs; then do it again.",
        )
    return None


def _signed(config: Any, folder: Path, bundle: Path) -> None:
    try:
        config.sign(folder, bundle)
    except ValueError as error:
        raise IntegrityError(f"The model cannot be signed: {error}", gate=_GATE, value=str(folder)) from error


def _hashing() -> Any:
    from model_signing import hashing

    made: Any = hashing.Config
    return made().use_file_serialization().set_ignored_paths(paths=[], ignore_git_paths=False)


def _require_ours(bundle: Path) -> None:
    """Refuse a signature that says of itself that files may be left out, or that is of the library's first format."""
    try:
        envelope = json.loads(bundle.read_text(encoding="utf-8"))["dsseEnvelope"]
        statement = json.loads(base64.b64decode(envelope["payload"], validate=True))
        said = statement["predicate"]["serialization"]
        named = {item["name"] for item in statement["predicate"]["resources"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _refused(f"it is no signature of a model ({type(error).__name__})", bundle) from error
    left = {key: value for key, value in said.items() if key in _ALIKE} != _ALIKE or said.get("ignore_paths")
    if left or not named:
        raise _refused("it does not cover every file", bundle)


def _refused(why: str, where: Path) -> IntegrityError:
    return IntegrityError(
        f"The model's signature does not verify: {why}.",
        gate=_GATE,
        value=where.name,
        hint="Do not load it. Restore the signed files, or sign those that were evaluated: `towpath model attest`.",
    )
