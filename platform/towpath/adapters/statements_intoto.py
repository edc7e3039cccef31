"""in-toto statements, made and held to the format by the attestation framework's own library, in DSSE envelopes."""

from __future__ import annotations

import json

from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped]
from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor  # type: ignore[import-untyped]
from in_toto_attestation.v1.statement import Statement  # type: ignore[import-untyped]
from pydantic import JsonValue

from towpath.core import statement as statements
from towpath.core.digest import PREFIX
from towpath.core.statement import PREDICATE_TYPE, Claims
from towpath.ports import Keys, Stamp


class InTotoStatements:
    """The port `Statements`."""

    def signed(self, claims: Claims, *, model_signature: str, keys: Keys) -> tuple[dict[str, JsonValue], Stamp]:
        """Raises `Misconfigured` where there is no model key."""
        subjects = [
            ResourceDescriptor(name=name, digest={"sha256": digest.removeprefix(PREFIX)}).pb
            for name, digest in sorted(claims.subjects.items())
        ]
        made = Statement(
            subjects=subjects,
            predicate_type=PREDICATE_TYPE,
            predicate=claims.predicate(model_signature=model_signature),
        )
        made.validate()
        payload = json.dumps(MessageToDict(made.pb), sort_keys=True, separators=(",", ":")).encode()
        stamp = keys.stamp(payload)
        return statements.envelope(payload, key_id=stamp.key_id, signature=stamp.signature), stamp
