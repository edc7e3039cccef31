"""Attacks on who somebody is: forged and old tokens of the provider, requests that are sent again."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bypass import databases, means
from bypass.conftest import Typed
from bypass.databases import EITHER
from bypass.scene import Scene
from bypass.test_people import held
from servers.oidc import OidcServer
from towpath.core.evidence import RecordKind

GRANTS = """\
groups:
  map:
    mlops-release: [release-manager@flights, viewer]
    platform: [platform-admin]
services:
  clients:
    nightly-run: [automation@flights]
"""


@pytest.fixture
def provided(scene: Scene, oidc_server: OidcServer) -> Scene:
    """The installation also takes tokens of an OpenID provider."""
    file = scene.state / "grants.yaml"
    file.write_text(GRANTS, encoding="utf-8")
    scene.environment |= {
        "TOWPATH_OIDC_ISSUER": oidc_server.issuer,
        "TOWPATH_OIDC_GRANTS": str(file),
        "TOWPATH_OIDC_PERSON": "employee",
    }
    return scene


def parts(token: str) -> tuple[dict[str, object], dict[str, object], str]:
    header, claims, signature = token.split(".")
    return json.loads(_bytes(header)), json.loads(_bytes(claims)), signature


def put(header: object, claims: object, signature: str) -> str:
    return ".".join([_text(header), _text(claims), signature])


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _text(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def refused(scene: Scene, typed: Typed, token: str, said: str) -> None:
    ran = typed(token, "approve", scene.mine.id, "--reason", "it is good")
    assert ran.code == 3, ran.out + ran.err
    assert said in ran.err, ran.err
    held(scene.promote(), "0 count")
    scene.unmoved()


def test_token_of_another_audience(provided: Scene, typed: Typed, oidc_server: OidcServer) -> None:
    """A token that the provider made for another application is used here."""
    token = oidc_server.login("u-1", client="towpath-es256", token="id_token")
    refused(provided, typed, token, "another audience")


def test_token_without_algorithm(provided: Scene, typed: Typed, oidc_server: OidcServer) -> None:
    """`alg: none`, in every spelling, with the claims of a release manager."""
    _, claims, signature = parts(oidc_server.login("u-1"))
    for spelt in ("none", "None", "NONE", "nOnE", "", None):
        for sign in ("", signature):
            ran = typed(put({"alg": spelt, "typ": "JWT"}, claims, sign), "approve", provided.mine.id, "--reason", "a b")
            assert ran.code == 3
            assert "not signed" in ran.err or "no JSON Web Token" in ran.err or "cannot be read" in ran.err, ran.err
    held(provided.promote(), "0 count")
    provided.unmoved()


def test_claims_edited(provided: Scene, typed: Typed, oidc_server: OidcServer) -> None:
    """The claims of a token are edited: another person, more groups, another application; the signature stays."""
    header, claims, signature = parts(oidc_server.login("u-1"))
    for change in ({"employee": "grace"}, {"groups": ["mlops-release", "platform"]}, {"exp": 9_999_999_999}):
        refused(provided, typed, put(header, {**claims, **change}, signature), "signature")


def test_token_of_a_rotated_out_key(scene: Scene, typed: Typed, mortal_oidc: Callable[[], OidcServer]) -> None:
    """A token that was signed by a key that the provider no longer publishes."""
    server = mortal_oidc()
    old = server.login("u-1")
    server.rotate()
    scene.environment |= {"TOWPATH_OIDC_ISSUER": server.issuer, "TOWPATH_OIDC_PERSON": "employee"}
    refused(scene, typed, old, "key")


def test_expired_token(provided: Scene, typed: Typed, oidc_server: OidcServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token of yesterday, and a local one of last year."""
    token = oidc_server.login("u-1")
    with means.later(monkeypatch, days=1):
        ran = typed(token, "approve", provided.mine.id, "--reason", "it is good")
        assert (ran.code, "expired" in ran.err) == (3, True), ran.err
    with means.later(monkeypatch, days=400):
        ran = typed("grace", "approve", provided.mine.id, "--reason", "it is good")
        assert (ran.code, "expired" in ran.err) == (3, True), ran.err
    provided.unmoved()


def test_clock_moved_back_for_a_token(
    provided: Scene, typed: Typed, oidc_server: OidcServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine's clock is put back, so that an expired token holds again."""
    token = oidc_server.login("u-1")
    with means.later(monkeypatch, days=2):
        provided.approve("barbara", provided.rolling)  # the record is of that day now
    ran = typed(token, "approve", provided.mine.id, "--reason", "it is good")
    assert ran.code == 3, ran.out + ran.err
    held_at(provided, monkeypatch)


def held_at(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    with means.later(monkeypatch, days=2):
        held(scene.promote(), "0 count")
        scene.unmoved()


def test_grants_file_edited(provided: Scene, typed: Typed, oidc_server: OidcServer) -> None:
    """The file of grants makes a program a release manager, and names a role that there is not."""
    file = Path(provided.environment["TOWPATH_OIDC_GRANTS"])
    machine = oidc_server.machine("nightly-run")
    for old, new in (("automation@flights", "release-manager@flights"), ("[platform-admin]", "[root]")):
        file.write_text(GRANTS.replace(old, new), encoding="utf-8")
        ran = typed(machine, "approve", provided.mine.id, "--reason", "all gates passed")
        assert ran.code in (2, 3), ran.out + ran.err
    file.write_text(GRANTS, encoding="utf-8")
    ran = typed(machine, "approve", provided.mine.id, "--reason", "all gates passed")
    assert ran.code == 3
    held(provided.promote(), "0 count")
    provided.unmoved()


def test_request_sent_again(scene: Scene) -> None:
    """The request of an approval is caught and sent again after it was withdrawn: as it was, and by somebody else."""
    path = f"/v1/candidates/{scene.mine.id}/approve"
    body = {"reason": "read its card"}
    with means.api(scene) as api:
        sent = {"idempotency-key": "k-1"}
        assert api.post(path, body, token="grace", **sent).status == 200
        scene.withdraw("grace")
        again = api.post(path, body, token="grace", **sent)
        assert (again.status, again.headers.get("idempotent-replayed")) == (200, "true")
        theirs = api.post(path, body, token="mallory", **sent)
        assert (theirs.status, theirs.json["code"]) == (409, "denied")
        assert api.post(path, body, token=None, **sent).status == 401
        assert api.post(path, {"reason": "another thing"}, token="grace", **sent).status in (409, 422)
        promoted = api.post(f"/v1/candidates/{scene.mine.id}/promote", {"reason": "it is ready"}, token="grace")
        assert promoted.json["verdict"] == "HOLD"
    said = [record.body["act"] for record in scene.records(RecordKind.APPROVAL) if record.candidate == scene.mine.id]
    assert said == ["approve", "withdraw"]
    scene.unmoved()


def test_another_name_over_the_api(scene: Scene) -> None:
    """The API is told who acts: by a header, in the body, in the address."""
    path = f"/v1/candidates/{scene.mine.id}/approve"
    with means.api(scene) as api:
        assert api.post(path, {"reason": "a b"}, token=None, **{"towpath-actor": "grace"}).status == 401
        told = api.post(path, {"reason": "a b"}, token="mallory", **{"towpath-actor": "grace"})
        assert (told.status, told.json["code"]) == (409, "denied")
        assert api.post(path, {"reason": "a b", "by": "grace"}, token="mallory").status == 422
        assert api.post(f"{path}?token=tp_x", {"reason": "a b"}, token=None).status in (400, 401, 422)
        api.post(f"/v1/candidates/{scene.mine.id}/promote", {"reason": "it is ready"}, token="mallory")
        wanted = {"person": "grace", "grants": ["release-manager"]}
        assert api.post("/v1/tokens/create", wanted, token="mallory").status == 403
    held(scene.promote(), "0 count")
    scene.unmoved()


@pytest.mark.slow
@EITHER
def test_database_tokens_deleted_under_the_api(scene: Scene) -> None:
    """Every token is deleted from the database of a running API, and one of a new one."""
    path = f"/v1/candidates/{scene.mine.id}/approve"
    with means.api(scene) as api:
        with databases.sql(scene) as database:
            database.execute("delete from towpath_tokens")
        assert api.post(path, {"reason": "a b"}, token=None, **{"towpath-actor": "grace"}).status == 401
    with means.api(scene) as api:
        assert api.post(path, {"reason": "a b"}, token=None, **{"towpath-actor": "grace"}).status == 401
        wanted = {"person": "grace", "grants": ["platform-admin"]}
        assert api.post("/v1/tokens/create", wanted, token=None).status == 401
    scene.unmoved()
