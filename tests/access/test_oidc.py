"""Tokens of a real OpenID provider: those that hold, and every way in which one does not."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from servers.oidc import OidcServer
from towpath.adapters import oidc_keys
from towpath.adapters.oidc_grants import GrantsFile, read
from towpath.adapters.oidc_keys import SPACING, STALE, ProviderKeys, fetch_json
from towpath.adapters.oidc_tokens import OidcTokens
from towpath.core.errors import DeclarationError, Problems, TowpathError, Unauthenticated, Unreachable
from towpath.core.identity import Kind, Proof, Role

GRANTS = GrantsFile.model_validate(
    {
        "groups": {"map": {"mlops-release": ["release-manager@flights", "viewer"], "platform": ["platform-admin"]}},
        "services": {"clients": {"nightly-run": ["automation@flights"]}},
    }
)


class Steps:
    """A monotonic clock that tests move."""

    def __init__(self) -> None:
        self.at = 1_000.0

    def __call__(self) -> float:
        return self.at


class Asking:
    """The real requests, counted."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, address: str) -> Any:
        self.asked.append(address)
        return fetch_json(address)

    @property
    def looks(self) -> int:
        return sum(address.endswith("/openid-configuration") for address in self.asked)


def accepting(
    server: OidcServer,
    *,
    steps: Steps | None = None,
    asking: Asking | None = None,
    audience: str = "towpath",
    person: str = "employee",
    grants: GrantsFile = GRANTS,
) -> OidcTokens:
    keys = ProviderKeys(server.issuer, fetch=asking or fetch_json, clock=steps or Steps())
    return OidcTokens(keys, issuer=server.issuer, audience=audience, person=person, grants=grants)


def now() -> datetime:
    return datetime.now(UTC)


def refused(tokens: OidcTokens, token: str, says: str, *, at: datetime | None = None) -> None:
    with pytest.raises(Unauthenticated, match=says) as raised:
        tokens.identify(token, now=at or now())
    for part in token.split("."):
        assert not part or part not in str(raised.value)


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    header, claims, signature = token.split(".")
    return json.loads(_bytes(header)), json.loads(_bytes(claims)), _bytes(signature)


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _text(value: object) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def put(header: object, claims: object, signature: bytes) -> str:
    return ".".join([_text(header), _text(claims), _text(signature)])


# --- what holds -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["access_token", "id_token"])
@pytest.mark.parametrize("client", ["towpath", "towpath-ps256", "towpath-es256", "towpath-eddsa"])
def test_a_person_who_logged_in_is_known(oidc_server: OidcServer, client: str, kind: str) -> None:
    audience = client if kind == "id_token" else "towpath"
    found = accepting(oidc_server, audience=audience).identify(
        oidc_server.login("u-1", client=client, token=kind), now=now()
    )
    assert (found.person, found.account, found.kind, found.proof) == ("ada", "ada", Kind.PERSON, Proof.OIDC)
    assert (found.credential, found.issued_by, found.via) == ("u-1", None, "oidc:u-1")
    assert found.roles("flights") == {Role.RELEASE_MANAGER, Role.VIEWER}
    assert found.roles("churn") == {Role.VIEWER}


def test_two_accounts_of_one_person_are_one_actor(oidc_server: OidcServer) -> None:
    tokens = accepting(oidc_server)
    one, other = (tokens.identify(oidc_server.login(subject), now=now()) for subject in ("u-1", "u-2"))
    assert one.person == other.person == "ada"
    assert (one.via, other.via) == ("oidc:u-1", "oidc:u-2 (ada-admin)")
    assert other.roles("any") == {Role.PLATFORM_ADMIN}


def test_a_group_without_a_grant_and_a_person_without_groups_may_nothing(oidc_server: OidcServer) -> None:
    tokens = accepting(oidc_server)
    for subject in ("u-3", "u-4"):
        assert tokens.identify(oidc_server.login(subject), now=now()).grants == {}


def test_a_service_is_known_by_its_own_token(oidc_server: OidcServer) -> None:
    found = accepting(oidc_server).identify(oidc_server.machine("nightly-run"), now=now())
    assert (found.person, found.account, found.kind) == ("nightly-run", "nightly-run", Kind.SERVICE)
    assert found.roles("flights") == {Role.AUTOMATION}
    assert accepting(oidc_server).identify(oidc_server.machine("stranger"), now=now()).grants == {}


def test_a_service_in_a_group_of_release_managers_is_refused(oidc_server: OidcServer) -> None:
    refused(accepting(oidc_server), oidc_server.machine("release-bot"), "a service cannot be release-manager")


def test_a_service_may_be_marked_by_a_claim(oidc_server: OidcServer) -> None:
    marked = GrantsFile.model_validate({"services": {"claim": "employee", "value": "grace"}})
    tokens = accepting(oidc_server, grants=marked)
    assert tokens.identify(oidc_server.login("u-3"), now=now()).kind is Kind.SERVICE
    assert tokens.identify(oidc_server.login("u-1"), now=now()).kind is Kind.PERSON


# --- what does not ----------------------------------------------------------------------------------------------------


def test_a_token_for_another_audience_is_refused(oidc_server: OidcServer) -> None:
    refused(accepting(oidc_server), oidc_server.login("u-1", client="wiki"), "another audience")
    refused(accepting(oidc_server), oidc_server.login("u-1", client="wiki", token="id_token"), "another audience")
    refused(accepting(oidc_server, audience="tow"), oidc_server.login("u-1"), "another audience")


def test_a_token_of_another_issuer_is_refused(oidc_server: OidcServer, mortal_oidc: Callable[[], OidcServer]) -> None:
    other = mortal_oidc()
    refused(accepting(oidc_server), other.login("u-1"), "key that the OpenID provider does not publish")
    # A provider that signs for several issuers with the same keys: the name is what counts.
    keys = ProviderKeys(other.issuer)
    ours = OidcTokens(keys, issuer=oidc_server.issuer, audience="towpath", person="sub", grants=GRANTS)
    refused(ours, other.login("u-1"), "another issuer")


def test_a_token_holds_from_when_it_was_made_until_it_expires(oidc_server: OidcServer) -> None:
    tokens, token = accepting(oidc_server), oidc_server.login("u-1")
    claims = parts(token)[1]
    made, ends = (datetime.fromtimestamp(claims[name], UTC) for name in ("iat", "exp"))
    tokens.identify(token, now=ends + timedelta(seconds=29))
    refused(tokens, token, "expired at", at=ends + timedelta(seconds=30))
    refused(tokens, token, "expired at", at=ends + timedelta(days=365))
    tokens.identify(token, now=made - timedelta(seconds=30))
    refused(tokens, token, "holds from", at=made - timedelta(seconds=31))


def test_a_payload_that_was_changed_is_refused(oidc_server: OidcServer) -> None:
    tokens, token = accepting(oidc_server), oidc_server.login("u-3")
    header, claims, signature = parts(token)
    forged = [
        put(header, {**claims, "groups": ["platform"]}, signature),
        put(header, {**claims, "employee": "ada"}, signature),
        put(header, {**claims, "exp": claims["exp"] + 10**6}, signature),
        put({**header, "typ": "JWT"}, claims, signature),
        token[:-5] + ("AAAAA" if not token.endswith("AAAAA") else "BBBBB"),
        token.rpartition(".")[0] + ".",
    ]
    for one in forged:
        refused(tokens, one, "signature that is not the provider's|cannot be read")


@pytest.mark.parametrize(
    "named", ["none", "None", "NONE", "", None, "HS256", "HS512", "ES256K", "RSA-OAEP", 1, ["RS256"]]
)
def test_an_algorithm_that_is_not_listed_is_refused(oidc_server: OidcServer, named: object) -> None:
    tokens, token = accepting(oidc_server), oidc_server.login("u-3")
    header, claims, _ = parts(token)
    forged = {**header, "alg": named}
    if named is None:
        del forged["alg"]
    for signature in (b"", b"x"):
        refused(tokens, put(forged, {**claims, "groups": ["platform"]}, signature), "algorithm|no JSON Web Token")


def test_the_public_key_is_no_secret_to_sign_with(oidc_server: OidcServer) -> None:
    """The confusion of RS256 with HS256 (RFC 8725, section 2.1): the verifier's public key taken for a shared one."""
    import jwt
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    tokens, token = accepting(oidc_server), oidc_server.login("u-3")
    header, claims, _ = parts(token)
    published = next(key for key in oidc_server.published() if key["kid"] == header["kid"])
    public = jwt.PyJWK(published, "RS256").key
    for secret in (
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        json.dumps(published).encode(),
    ):
        for alg in ("HS256", "RS256"):
            body = f"{_text({**header, 'alg': alg})}.{_text({**claims, 'groups': ['platform']})}"
            forged = f"{body}.{_text(hmac.new(secret, body.encode(), hashlib.sha256).digest())}"
            refused(tokens, forged, "algorithm|signature")


def test_a_key_of_the_attackers_own_in_the_header_is_not_looked_at(oidc_server: OidcServer) -> None:
    from joserfc import jwt as others
    from joserfc.jwk import RSAKey

    tokens, claims = accepting(oidc_server), parts(oidc_server.login("u-3"))[1]
    mine = RSAKey.generate_key(2048)
    known = next(key["kid"] for key in oidc_server.published() if key["alg"] == "RS256")
    for header in (
        {"alg": "RS256", "kid": known},
        {"alg": "RS256", "kid": known, "jwk": mine.as_dict(private=False)},
        {"alg": "RS256", "jku": "http://127.0.0.1:9/jwks"},
        {"alg": "RS256", "kid": "../../dev/null"},
    ):
        forged = others.encode({"typ": "at+jwt", **header}, {**claims, "groups": ["platform"]}, mine)
        refused(tokens, forged, "signature that is not|does not publish")


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ({"typ": "logout+jwt"}, "type that is no proof"),
        ({"typ": "dpop+jwt"}, "type that is no proof"),
        ({"crit": ["exp"], "exp": 1}, "extension|no JSON Web Token"),
        ({"b64": False, "crit": ["b64"]}, "extension|no JSON Web Token"),
        ({"kid": 7}, "no JSON Web Token"),
    ],
)
def test_a_header_that_asks_for_more_is_refused(oidc_server: OidcServer, header: dict[str, Any], says: str) -> None:
    given, claims, signature = parts(oidc_server.login("u-1"))
    refused(accepting(oidc_server), put({**given, **header}, claims, signature), says)


@pytest.mark.parametrize(
    "given", ["", ".", "..", "a.b.c", "tp", "💥", "a" * 20_000, "e30.e30.e30", "Bearer x.y.z", "\x00"]
)
def test_what_is_no_token_is_refused_and_no_fault(oidc_server: OidcServer, given: str) -> None:
    with pytest.raises(Unauthenticated):
        accepting(oidc_server).identify(given, now=now())


# --- claims that only a careless provider makes: signed with a key that we hold ---------------------------------------


class Careless:
    """A provider whose key the test has; its tokens are signed by an implementation that is not ours."""

    def __init__(self, claim: str = "sub", grants: GrantsFile = GRANTS) -> None:
        from joserfc.jwk import ECKey

        self.issuer = "https://login.example.org"
        self.key = ECKey.generate_key("P-256", {"kid": "one", "use": "sig", "alg": "ES256"})
        keys = ProviderKeys(self.issuer, fetch=self.fetch)
        self.tokens = OidcTokens(keys, issuer=self.issuer, audience="towpath", person=claim, grants=grants)

    def fetch(self, address: str) -> Any:
        if address.endswith("openid-configuration"):
            return {"issuer": self.issuer, "jwks_uri": f"{self.issuer}/jwks"}
        return {"keys": [self.key.as_dict(private=False)]}

    def token(self, **claims: object) -> str:
        from joserfc import jwt as others

        at = int(now().timestamp())
        whole = {"iss": self.issuer, "aud": "towpath", "sub": "u-1", "iat": at, "exp": at + 600, **claims}
        kept = {name: value for name, value in whole.items() if value is not None}
        return others.encode({"alg": "ES256", "kid": "one"}, kept, self.key)


def test_what_such_a_provider_makes_well_holds() -> None:
    one = Careless()
    assert one.tokens.identify(one.token(aud=["wiki", "towpath"], nbf=0), now=now()).person == "u-1"


@pytest.mark.parametrize(
    ("claims", "says"),
    [
        ({"exp": None}, "no time in its claim exp"),
        ({"exp": "tomorrow"}, "no time in its claim exp|cannot be read"),
        ({"exp": True}, "no time in its claim exp|cannot be read"),
        ({"exp": 1e300}, "no time in its claim exp|cannot be read"),
        ({"exp": float("inf")}, "no time in its claim exp|cannot be read"),
        ({"iat": None}, "no time in its claim iat"),
        ({"iat": 4_000_000_000}, "holds from"),
        ({"nbf": 4_000_000_000}, "holds from"),
        ({"nbf": "never"}, "no time in its claim nbf|cannot be read"),
        ({"sub": None}, "no name in its claim sub"),
        ({"sub": ""}, "no name in its claim sub"),
        ({"sub": 7}, "no name in its claim sub|cannot be read"),
        ({"sub": " ada"}, "no name in its claim sub"),
        ({"sub": "ada\u202e"}, "no name in its claim sub"),
        ({"sub": "a" * 201}, "no name in its claim sub"),
        ({"aud": None}, "another audience"),
        ({"aud": []}, "another audience"),
        ({"aud": "towpath wiki"}, "another audience"),
        ({"aud": {"towpath": 1}}, "another audience|cannot be read"),
        ({"iss": None}, "another issuer"),
        ({"iss": "https://login.example.org/"}, "another issuer"),
        ({"groups": {"mlops-release": True}}, "no list of groups"),
        ({"groups": [7]}, "no list of groups"),
    ],
)
def test_a_claim_that_is_missing_or_wrong_is_refused(claims: dict[str, object], says: str) -> None:
    one = Careless()
    refused(one.tokens, one.token(**claims), says)


def test_an_address_that_was_not_verified_names_nobody() -> None:
    one = Careless("email")
    for verified in (None, False, "true", 1):
        refused(one.tokens, one.token(email="ada@example.org", email_verified=verified), "not verified")
    assert (
        one.tokens.identify(one.token(email="a@example.org", email_verified=True), now=now()).person == "a@example.org"
    )


def test_groups_may_lie_in_other_claims_and_be_one_word() -> None:
    grants = GrantsFile.model_validate(
        {"groups": {"claim": "realm_access.roles", "map": {"ops": ["platform-admin"], "see": ["viewer@x"]}}}
    )
    one = Careless(grants=grants)
    found = one.tokens.identify(one.token(realm_access={"roles": ["ops", "see", "what"]}), now=now())
    assert found.grants == {"*": {Role.PLATFORM_ADMIN}, "x": {Role.VIEWER}}
    assert one.tokens.identify(one.token(realm_access={"roles": "see"}), now=now()).grants == {"x": {Role.VIEWER}}
    assert one.tokens.identify(one.token(realm_access=[]), now=now()).grants == {}


@pytest.mark.parametrize(
    "change",
    [
        {"use": "enc"},
        {"alg": "ES384"},
        {"key_ops": ["sign"]},
        {"kty": "oct", "k": "AAAA"},
        {"crv": "P-384"},
        {"x": "AA"},
    ],
)
def test_a_key_that_is_not_for_this_is_not_used(change: dict[str, Any]) -> None:
    one = Careless()
    published = {**one.key.as_dict(private=False), **change}
    keys = ProviderKeys(
        one.issuer,
        fetch=lambda address: one.fetch(address) if address.endswith("configuration") else {"keys": [published, 7]},
    )
    tokens = OidcTokens(keys, issuer=one.issuer, audience="towpath", person="sub", grants=GRANTS)
    refused(tokens, one.token(), "does not publish")


def test_a_short_rsa_key_is_not_used() -> None:
    from joserfc import jwt as others
    from joserfc.jwk import RSAKey

    one = Careless()
    with pytest.warns(Warning, match="2048"):
        short = RSAKey.generate_key(1024, {"kid": "short"}, private=True)
    keys = ProviderKeys(
        one.issuer,
        fetch=lambda address: (
            one.fetch(address) if address.endswith("configuration") else {"keys": [short.as_dict(private=False)]}
        ),
    )
    tokens = OidcTokens(keys, issuer=one.issuer, audience="towpath", person="sub", grants=GRANTS)
    refused(tokens, others.encode({"alg": "RS256", "kid": "short"}, parts(one.token())[1], short), "does not publish")


# --- keys that change, and a provider that is down --------------------------------------------------------------------


def test_keys_that_were_rotated_are_found_and_the_old_ones_hold_no_more(
    mortal_oidc: Callable[[], OidcServer],
) -> None:
    server, steps, asking = mortal_oidc(), Steps(), Asking()
    tokens = accepting(server, steps=steps, asking=asking)
    before = server.login("u-1")
    tokens.identify(before, now=now())
    server.rotate()
    after = server.login("u-1")
    steps.at += SPACING
    assert tokens.identify(after, now=now()).person == "ada"
    assert asking.looks == 2
    refused(tokens, before, "does not publish")


def test_made_up_key_ids_cannot_hammer_the_provider(oidc_server: OidcServer) -> None:
    steps, asking = Steps(), Asking()
    tokens = accepting(oidc_server, steps=steps, asking=asking)
    good = oidc_server.login("u-1")
    header, claims, signature = parts(good)
    for number in range(200):
        refused(tokens, put({**header, "kid": f"made-up-{number}"}, claims, signature), "does not publish")
        steps.at += SPACING / 100
    tokens.identify(good, now=now())
    assert asking.looks <= 3


def test_while_the_provider_is_down_its_last_keys_hold_for_a_day(mortal_oidc: Callable[[], OidcServer]) -> None:
    server, steps = mortal_oidc(), Steps()
    tokens = accepting(server, steps=steps)
    token = server.login("u-1")
    tokens.identify(token, now=now())
    server.stop()
    steps.at += STALE
    assert tokens.identify(token, now=now()).person == "ada"
    steps.at += 1
    with pytest.raises(Unreachable, match="does not answer, and its keys are not known"):
        tokens.identify(token, now=now())
    server.start()  # with keys of its own, as after a disaster
    steps.at += SPACING
    refused(tokens, token, "does not publish")
    assert tokens.identify(server.login("u-1"), now=now()).person == "ada"


def test_a_provider_that_never_answered_is_a_fault_that_may_pass(mortal_oidc: Callable[[], OidcServer]) -> None:
    server = mortal_oidc()
    token, asking = server.login("u-1"), Asking()
    server.stop()
    tokens = accepting(server, asking=asking)
    for _ in range(5):
        with pytest.raises(Unreachable) as raised:
            tokens.identify(token, now=now())
        assert raised.value.temporary
        assert token not in str(raised.value)
    assert len(asking.asked) == 1


@pytest.mark.parametrize(
    "document",
    [
        {"issuer": "https://other.example.org", "jwks_uri": "https://other.example.org/jwks"},
        {"issuer": "https://login.example.org", "jwks_uri": "http://login.example.org/jwks"},
        {"issuer": "https://login.example.org", "jwks_uri": "file:///etc/passwd"},
        {"issuer": "https://login.example.org"},
        ["no", "document"],
        None,
    ],
)
def test_a_discovery_document_that_leads_elsewhere_is_not_followed(document: object) -> None:
    asked: list[str] = []

    def fetch(address: str) -> object:
        asked.append(address)
        return document

    one = Careless()
    tokens = OidcTokens(
        ProviderKeys(one.issuer, fetch=fetch), issuer=one.issuer, audience="towpath", person="sub", grants=GRANTS
    )
    with pytest.raises(Unreachable):
        tokens.identify(one.token(), now=now())
    assert asked == ["https://login.example.org/.well-known/openid-configuration"]


@pytest.mark.parametrize(
    "issuer",
    [
        "http://login.example.org",
        "http://localhost.example.org",
        "http://127.0.0.1.example.org/",
        "ftp://localhost",
        "login.example.org",
        "https://user:secret@login.example.org",
        "https://",
        "https://[::1",
        "file:///etc/passwd",
    ],
)
def test_a_provider_is_asked_over_https_or_on_this_machine_alone(issuer: str) -> None:
    with pytest.raises(DeclarationError, match="safe to ask"):
        ProviderKeys(issuer)


def test_a_redirect_is_not_followed_and_a_long_answer_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    import http.server
    import threading

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/elsewhere":
                self.send_response(302)
                self.send_header("Location", "/good")
                self.end_headers()
                return
            self.send_response(200)
            self.end_headers()
            self.wfile.write({"/good": b"{}", "/text": b"<html>"}.get(self.path, b'"' + b"a" * 2_000_000 + b'"'))

        def log_message(self, *_: object) -> None:
            """Tests are quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_port}"
        try:
            assert fetch_json(f"{base}/good") == {}
            for path in ("/elsewhere", "/text", "/long"):
                with pytest.raises(TowpathError):
                    fetch_json(base + path)
            monkeypatch.setattr(oidc_keys, "_TIMEOUT", 0.0)
            with pytest.raises(TowpathError):
                fetch_json(f"{base}/good")
        finally:
            server.shutdown()


# --- the file of grants -----------------------------------------------------------------------------------------------


def test_the_file_of_grants_is_read_as_yaml_and_as_json(tmp_path: Path) -> None:
    document = {
        "groups": {"claim": "roles", "map": {"ops": ["platform-admin"], "ml": ["data-scientist@flights", "viewer@*"]}},
        "services": {"claim": "idtyp", "value": "app", "clients": {"ci": ["automation@flights"]}},
    }
    as_json, as_yaml = tmp_path / "grants.json", tmp_path / "grants.yaml"
    as_json.write_text(json.dumps(document), encoding="utf-8")
    as_yaml.write_text(
        "groups:\n  claim: roles\n  map:\n    ops: [platform-admin]\n    ml: [data-scientist@flights, viewer@*]\n"
        "services: {claim: idtyp, value: app, clients: {ci: [automation@flights]}}\n",
        encoding="utf-8",
    )
    assert read(as_json) == read(as_yaml)
    assert read(as_json).groups.map["ml"] == {"flights": {Role.DATA_SCIENTIST}, "*": {Role.VIEWER}}
    (tmp_path / "empty.yaml").touch()
    assert read(tmp_path / "empty.yaml") == GrantsFile()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("groups: {map: {ops: [superuser]}}", "'superuser' names no role.*platform-admin"),
        ("groups: {map: {ops: [viewer@Fl ights]}}", "no project's name"),
        ("groups: {map: {ops: viewer}}", "roles are a list"),
        ("groups: {map: {ops: [1]}}", "roles are a list"),
        ("group: {}", "group: "),
        ("groups: {maps: {}}", "groups.maps: "),
        ("services: {clients: {ci: [release-manager]}}", "a service cannot be release-manager"),
        ("services: {clients: [ci]}", "services.clients: "),
        ("[]", "the file: "),
        ("groups: {", "cannot be read"),
        ("groups: {claim: ''}", "groups.claim: "),
    ],
)
def test_a_mistake_in_the_file_of_grants_is_refused(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "grants.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises((Problems, DeclarationError), match=says):
        read(file)


def test_a_file_of_grants_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match="cannot be read"):
        read(tmp_path / "no.yaml")
