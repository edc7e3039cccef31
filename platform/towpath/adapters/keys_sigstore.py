"""Signatures by an identity, not by a key that somebody keeps: Sigstore, of the public or of a private deployment.

Verifying asks nobody: the trusted deployment's keys and roots are in its ClientTrustConfig, and the log's proof comes
with the signature. Signing asks that deployment, and the issuer, which is never asked in a browser.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from towpath.adapters.keys_certificates import fingerprints
from towpath.adapters.keys_trust import Identity
from towpath.core import statement as statements
from towpath.core.errors import IntegrityError, Misconfigured, TowpathError, Unreachable
from towpath.core.keyless import Keyless
from towpath.core.statement import GATE
from towpath.ports import Identified, Stamp

_AUDIENCE: Final = "sigstore"
_BUNDLE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"


def token_of(keyless: Keyless) -> str:
    """The identity token that the setting names. Raises `Misconfigured`; no token is ever shown."""
    from sigstore.oidc import IdentityError, detect_credential

    if keyless.token_file is not None:
        try:
            return Path(keyless.token_file).read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            raise Misconfigured(
                f"The identity token in {keyless.token_file} cannot be read: {type(error).__name__}.",
                value=keyless.token_file,
            ) from error
    try:
        found = detect_credential(_AUDIENCE)
    except IdentityError as error:
        raise Misconfigured(f"This run was given no identity token: {error}.", value="sigstore") from error
    if found is None:
        raise Misconfigured(
            "This process has no identity: it is no run of a continuous integration service that gives tokens.",
            value="sigstore",
            hint="Name the file of a token in TOWPATH_MODEL_KEY: sigstore:/…?identity-token=file:/…",
        )
    return found


def stamped(keyless: Keyless, statement: bytes) -> Stamp:
    """Sign an in-toto statement as the token's identity. Raises `Misconfigured`, `Unreachable`."""
    from sigstore.dsse import Statement
    from sigstore.models import ClientTrustConfig
    from sigstore.oidc import IdentityToken
    from sigstore.sign import SigningContext

    try:
        config = ClientTrustConfig.from_json(Path(keyless.config).read_text(encoding="utf-8"))
        token = IdentityToken(token_of(keyless), _AUDIENCE)
        with SigningContext.from_trust_config(config).signer(token) as signer:
            bundle = signer.sign_dsse(Statement(statement))
    except Exception as error:
        raise unsigned(keyless, error) from error
    key_id, signature, _, material = statements.opened(json.loads(bundle.to_json()))
    return Stamp(key_id=key_id, signature=signature, material=material)


def unsigned(keyless: Keyless, error: Exception) -> TowpathError:
    """What to say of a failure to sign, in whatever class it came; the token is told to nobody."""
    if isinstance(error, TowpathError):
        return error
    both = [error, error.__cause__ or error.__context__]
    # The errors of `requests` are all of the class OSError; one with an answer is no failure to reach anybody.
    answer = next(filter(lambda one: one is not None, (getattr(one, "response", None) for one in both)), None)
    failed = any(isinstance(one, OSError) and not isinstance(one, FileNotFoundError) for one in both)
    if failed and answer is None:
        return Unreachable(
            f"The Sigstore deployment of {keyless.config} or its issuer does not answer: {type(error).__name__}.",
            value=keyless.config,
        )
    said = f"it answers {answer.status_code}" if answer is not None else str(error) or type(error).__name__
    return Misconfigured(
        f"No identity signs by the Sigstore deployment of {keyless.config}: {said}.",
        value=keyless.config,
        hint="The token must be for the audience `sigstore`, not expired, and of an issuer that its Fulcio knows.",
    )


def identified(stamp: Stamp, statement: bytes, *, identities: Sequence[Identity]) -> tuple[Identified, tuple[str, ...]]:
    """Which trusted identity made that signature over that statement, and the fingerprints of its certificate.

    Raises `IntegrityError`.
    """
    from sigstore.models import Bundle
    from sigstore.verify.policy import Identity as Policy

    document = {
        "mediaType": _BUNDLE,
        "verificationMaterial": dict(stamp.material or {}),
        "dsseEnvelope": {
            "payloadType": statements.PAYLOAD_TYPE,
            "payload": base64.b64encode(statement).decode(),
            "signatures": [{"sig": base64.b64encode(stamp.signature).decode()}],
        },
    }
    try:
        bundle: Any = Bundle.from_json(json.dumps(document))
    except Exception as error:
        raise _refused(f"it is no Sigstore bundle ({type(error).__name__})") from error
    certificate = bundle.signing_certificate
    why = "it is of an identity that nobody trusts"
    for one in identities:
        policy = Policy(identity=one.identity, issuer=one.issuer)
        try:
            policy.verify(certificate)
        except Exception:  # noqa: BLE001, S112 - it is not this one
            continue
        try:
            kind, payload = _verifier(one.config).verify_dsse(bundle, policy)
        except Exception as error:  # noqa: BLE001 - whatever the library says, and it says it in many classes
            why = f"{one.identity} did not make it: {str(error) or type(error).__name__}"
            continue
        if (kind, payload) == (statements.PAYLOAD_TYPE, statement):
            marks = fingerprints(certificate)
            found = Identified(
                key_id=one.key_id,
                identity=one.identity,
                issuer=one.issuer,
                config=one.config,
                certificate=marks[0],
            )
            return found, marks
    raise _refused(why)


@lru_cache(maxsize=8)
def _verifier(config: str) -> Any:
    """What verifies by a deployment's trusted root, with no network."""
    from sigstore.models import ClientTrustConfig
    from sigstore.verify import Verifier

    return Verifier(trusted_root=ClientTrustConfig.from_json(config).trusted_root)


def _refused(why: str) -> IntegrityError:
    return IntegrityError(
        f"A keyless signature counts for nothing: {why}.",
        gate=GATE,
        hint="`towpath key list` shows the trusted identities. Have the model attested by one of them.",
    )
