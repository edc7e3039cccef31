"""An OpenID provider in a process of its own: Authlib's authorization server behind Flask.

The protocol and the tokens are Authlib's: authorization code with PKCE and client credentials, ID tokens, and access
tokens as RFC 9068 has them. Ours are only the people, the clients and the keys, which `POST /test/rotate` makes anew;
`POST /test/sign` signs claims that Authlib would never put together, as a careless provider may.
Whoever names themselves in `login_hint` is logged in. Run as `python oidc_app.py PORT`.
"""

from __future__ import annotations

import sys
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import AuthorizationCodeMixin, ClientMixin, grants
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oauth2.rfc9068 import JWTBearerTokenGenerator
from authlib.oidc.core import OpenIDCode, UserInfo
from flask import Flask, Response, jsonify, request
from joserfc import jws, jwt
from joserfc.jwk import ECKey, Key, KeySet, OKPKey, RSAKey
from werkzeug.serving import make_server

SECRET = "secret of a client that only tests have"
SCOPE = "openid profile"
PEOPLE: dict[str, dict[str, Any]] = {
    "u-1": {"preferred_username": "ada", "employee": "ada", "groups": ["everybody", "mlops-release"]},
    "u-2": {"preferred_username": "ada-admin", "employee": "ada", "groups": ["platform"]},
    "u-3": {"preferred_username": "grace", "employee": "grace", "groups": ["science"]},
    "u-4": {"preferred_username": "mallory", "employee": "mallory"},
}


@dataclass(frozen=True, kw_only=True)
class Client(ClientMixin):  # type: ignore[misc]
    """A program that is registered. `audience`: what its tokens are for; `alg`: what they are signed with."""

    name: str
    audience: str = "towpath"
    alg: str = "RS256"
    grants: tuple[str, ...] = ("authorization_code",)
    claims: dict[str, Any] = field(default_factory=dict)

    @property
    def client_id(self) -> str:
        return self.name

    @property
    def id_token_signed_response_alg(self) -> str:
        return self.alg

    def get_client_id(self) -> str:
        return self.name

    def get_default_redirect_uri(self) -> str:
        return "http://127.0.0.1/callback"

    def get_allowed_scope(self, scope: str | None) -> str:
        return scope or ""

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return redirect_uri == self.get_default_redirect_uri()

    def check_client_secret(self, client_secret: str) -> bool:
        return client_secret == SECRET

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == "client_secret_post"

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type in self.grants


_MACHINE = ("client_credentials",)
CLIENTS = {
    client.name: client
    for client in (
        Client(name="towpath"),
        Client(name="wiki", audience="wiki"),
        *(Client(name=f"towpath-{alg.lower()}", alg=alg) for alg in ("PS256", "ES256", "EdDSA")),
        Client(name="nightly-run", grants=_MACHINE),
        Client(name="release-bot", grants=_MACHINE, claims={"groups": ["mlops-release"]}),
        Client(name="stranger", grants=_MACHINE),
    )
}


@dataclass(frozen=True, kw_only=True)
class User:
    sub: str

    def get_user_id(self) -> str:
        return self.sub


@dataclass(frozen=True, kw_only=True)
class Code(AuthorizationCodeMixin):  # type: ignore[misc]
    code: str
    client: str
    user: User
    scope: str
    code_challenge: str
    code_challenge_method: str

    def get_redirect_uri(self) -> str:
        return ""

    def get_scope(self) -> str:
        return self.scope

    def get_nonce(self) -> str | None:
        return None

    def get_auth_time(self) -> int:
        return int(time.time())

    def get_acr(self) -> None:
        return None

    def get_amr(self) -> None:
        return None


CODES: dict[str, Code] = {}
jws.JWSRegistry.recommended.extend({"PS256", "EdDSA"} - set(jws.JWSRegistry.recommended))


class Keys:
    """The keys that sign now, by algorithm. They are published; the ones before are not any more."""

    def __init__(self) -> None:
        self.rotate()

    def rotate(self) -> None:
        self.by_alg: dict[str, Key] = {}
        for alg in ("RS256", "PS256"):
            self.by_alg[alg] = RSAKey.generate_key(2048, self._named(alg))
        self.by_alg["ES256"] = ECKey.generate_key("P-256", self._named("ES256"))
        self.by_alg["EdDSA"] = OKPKey.generate_key("Ed25519", self._named("EdDSA"))

    @staticmethod
    def _named(alg: str) -> dict[str, Any]:
        return {"kid": uuid.uuid4().hex, "alg": alg, "use": "sig"}

    def published(self) -> dict[str, Any]:
        document: dict[str, Any] = KeySet(list(self.by_alg.values())).as_dict(private=False)
        return document


class CodeGrant(grants.AuthorizationCodeGrant):  # type: ignore[misc]
    TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_post",)

    def save_authorization_code(self, code: str, request: Any) -> None:
        data = request.payload.data
        CODES[code] = Code(
            code=code,
            client=request.client.name,
            user=request.user,
            scope=request.payload.scope,
            code_challenge=data.get("code_challenge"),
            code_challenge_method=data.get("code_challenge_method"),
        )

    def query_authorization_code(self, code: str, client: Client) -> Code | None:
        found = CODES.get(code)
        return found if found is not None and found.client == client.name else None

    def delete_authorization_code(self, authorization_code: Code) -> None:
        CODES.pop(authorization_code.code, None)

    def authenticate_user(self, authorization_code: Code) -> User:
        return authorization_code.user


class MachineGrant(grants.ClientCredentialsGrant):  # type: ignore[misc]
    TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_post",)


def provider(issuer: str) -> Flask:
    """The provider as an application."""
    keys, app = Keys(), Flask("provider")

    class IdTokens(OpenIDCode):  # type: ignore[misc]
        def exists_nonce(self, nonce: str, request: Any) -> bool:
            return False

        def resolve_client_private_key(self, client: Client) -> KeySet:
            return KeySet([keys.by_alg[client.alg]])  # of a set, the header says which

        def get_client_claims(self, client: Client) -> dict[str, Any]:
            return {"iss": issuer, "exp": int(time.time()) + 3600}

        def generate_user_info(self, user: User, scope: str) -> UserInfo:
            return UserInfo(sub=user.sub, **PEOPLE[user.sub])

    class AccessTokens(JWTBearerTokenGenerator):  # type: ignore[misc]
        def get_jwks(self) -> KeySet:
            return KeySet([keys.by_alg[self.alg]])

        def get_audiences(self, client: Client, user: User | None, scope: str) -> str:
            return client.audience

        def get_extra_claims(self, client: Client, grant_type: str, user: User | None, scope: str) -> dict[str, Any]:
            return client.claims if user is None else PEOPLE[user.sub]

    server = AuthorizationServer(app, query_client=CLIENTS.get, save_token=lambda *_: None)
    generators = {alg: AccessTokens(issuer, alg=alg, expires_generator=lambda *_: 3600) for alg in keys.by_alg}
    server.register_token_generator(
        "default",
        lambda grant_type, client, **rest: generators[client.alg](grant_type=grant_type, client=client, **rest),
    )
    server.register_grant(CodeGrant, [IdTokens(require_nonce=False), CodeChallenge(required=True)])
    server.register_grant(MachineGrant)
    _lay(app, server, keys, issuer)
    return app


def _lay(app: Flask, server: AuthorizationServer, keys: Keys, issuer: str) -> None:
    """The pages."""

    @app.get("/.well-known/openid-configuration")
    def discovery() -> Response:
        return jsonify(
            issuer=issuer,
            authorization_endpoint=f"{issuer}/authorize",
            token_endpoint=f"{issuer}/token",
            jwks_uri=f"{issuer}/jwks",
            response_types_supported=["code"],
            subject_types_supported=["public"],
            id_token_signing_alg_values_supported=list(keys.by_alg),
            code_challenge_methods_supported=["S256"],
        )

    @app.get("/jwks")
    def jwks() -> Response:
        return jsonify(keys.published())

    @app.get("/authorize")
    def authorize() -> Response:
        user = User(sub=request.args["login_hint"])
        grant = server.get_consent_grant(end_user=user)
        answered: Response = server.create_authorization_response(grant_user=user, grant=grant)
        return answered

    @app.post("/token")
    def token() -> Response:
        answered: Response = server.create_token_response()
        return answered

    @app.post("/test/sign")
    def sign() -> str:
        key = keys.by_alg["RS256"]
        return jwt.encode({"alg": "RS256", "typ": "at+jwt", "kid": key.kid}, dict(request.get_json()), key)

    @app.post("/test/rotate")
    def rotate() -> Response:
        keys.rotate()
        return jsonify(keys.published())


if __name__ == "__main__":
    port = int(sys.argv[1])
    make_server("127.0.0.1", port, provider(f"http://127.0.0.1:{port}"), threaded=True).serve_forever()
