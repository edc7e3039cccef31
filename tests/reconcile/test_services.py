"""Each service by itself: one that is down hides no other; what it shows is compared; what only can be told is told."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway import served
from gateway.served import PROJECT, Built
from reconcile import desk
from reconcile.attacks import move_alias
from reconcile.desk import Desk, codes
from towpath import wiring
from towpath.adapters.alerts_apprise import AppriseAlerts
from towpath.adapters.gateways_http import HttpGateways
from towpath.adapters.mlflow_models import MlflowModels
from towpath.adapters.mlflow_models_registry import MlflowRegistry
from towpath.adapters.prefect_deployments import PrefectDeployments
from towpath.core.errors import DeclarationError, Misconfigured, Unreachable
from towpath.core.evidence import Incident
from towpath.core.reconciliation import Loaded

pytestmark = pytest.mark.slow

NOWHERE = "http://127.0.0.1:9"  # the discard port: nobody listens there
SOON = timedelta(seconds=20)


@contextmanager
def answering(pages: dict[str, Any]) -> Iterator[str]:
    """A server of JSON pages by path; its address. Pages may change meanwhile."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = pages.get(self.path)
            self.send_response(404 if page is None else 200)
            self.end_headers()
            if page is not None:
                self.wfile.write(page if isinstance(page, bytes) else json.dumps(page).encode())

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def gateway(model: str, *versions: str) -> dict[str, Any]:
    return {f"/v2/models/{PROJECT}": {"name": PROJECT, "versions": versions, "parameters": {"model": model}}}


def test_mlflow_that_is_down_hides_no_gateway(at: Desk) -> None:
    down = MlflowModels(NOWHERE, artifacts=None)
    with answering(gateway("sha256:other", "9")) as address:
        at.again(registry=MlflowRegistry(down), models=lambda: down, addresses=(address,))
        at.look()
        found = at.look(later=SOON)
    assert [one.drift.code for one in found.treated] == ["reconcile.gateway"]
    assert [text.partition(":")[0] for text in found.unseen] == ["MLflow", "the stored model"]
    assert "does not answer" in found.unseen[0]


def test_a_gateway_that_loaded_another_model_is_told_once_it_stands(at: Desk) -> None:
    model = at.house.built.champion.entry("train").subject("model").digest
    pages = gateway(model, "1")
    with answering(pages) as address:
        at.again(addresses=(address, NOWHERE))
        found = at.look()
        assert (found.treated, found.waiting) == ((), ())
        assert found.unseen[0].startswith(f"gateway {NOWHERE}: ")
        pages.update(gateway("sha256:other", "2"))
        assert len(at.look().waiting) == 1
        assert at.incidents() == []
        for _ in range(2):
            found = at.look(later=SOON)
            assert [one.restored for one in found.treated] == [False]
        assert codes(at.incidents()) == ["reconcile.gateway FAIL"]
        assert len(at.inbox.told) == 1
        pages.update(gateway(model, "1"))
        assert len(at.look().ended) == 1
    assert codes(at.incidents()) == ["reconcile.gateway FAIL", "reconcile.gateway PASS"]


def test_a_gateway_that_is_away_is_not_taken_for_one_that_is_right_again(at: Desk) -> None:
    with answering(gateway("sha256:other", "2")) as address:
        at.again(addresses=(address,))
        at.look()
        at.look(later=SOON)
    assert at.look().ended == ()
    assert codes(at.incidents()) == ["reconcile.gateway FAIL"]


@pytest.mark.parametrize(
    "page", [b"<html>", {"versions": []}, {"versions": 3, "parameters": {"model": "m"}}, [], None], ids=repr
)
def test_a_page_that_is_no_gateways_is_not_read_as_one(page: Any) -> None:
    with answering({f"/v2/models/{PROJECT}": page}) as address, pytest.raises(Unreachable, match="what it has loaded"):
        HttpGateways().loaded(address, PROJECT)


def test_a_gateways_address_is_http() -> None:
    with pytest.raises(Misconfigured, match="TOWPATH_GATEWAYS"):
        HttpGateways().loaded("file:///etc/passwd", PROJECT)
    with answering(gateway("m", "1", "2")) as address:
        assert HttpGateways().loaded(f"{address}/", PROJECT) == Loaded(model="m", versions=("1", "2"))


# --- the feature store ------------------------------------------------------------------------------------------------


@pytest.fixture
def stocked(built: Built, tmp_path: Path) -> Iterator[Desk]:
    """With the champion's feature store."""
    with served.house(built, tmp_path, online=True) as house, desk.opened(house) as found:
        project = wiring.open_reconcile(house.settings, desk.load(house.project), actor="reconciler")
        found.again(features=project.features, repository=project.repository)
        project.close()
        yield found


def _store(at: Desk) -> Any:
    """Feast's own, as somebody with the registry's file opens it."""
    import feast

    from towpath.adapters.feast_features_repository import opened, settings

    key = at.house.built.champion.entry("featurize").key.removeprefix("sha256:")[:16]
    home = at.house.state / "features" / key
    repository = at.house.project / "feature_repo"
    with opened(repository, sources=home / "sources", state=home / "feast"):
        return feast.FeatureStore(config=settings(repository))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::RuntimeWarning", "ignore::UserWarning")
def test_feature_views_that_were_changed_or_deleted_by_hand_are_applied_again(stocked: Desk) -> None:
    at = stocked
    assert (at.look().treated, at.look().unseen) == ((), ())
    store = _store(at)
    name = min(at.house.built.champion.entry("featurize").facts["views"])  # type: ignore[arg-type]
    view = store.get_feature_view(name)
    view.ttl = timedelta(days=4000)
    store.registry.apply_feature_view(view, store.project)
    store.registry.commit()
    found = at.look()
    assert [(one.drift.code, one.drift.subject, one.restored) for one in found.treated] == [
        ("reconcile.features", f"feature view {name}", True)
    ]
    assert _store(at).get_feature_view(name).ttl != timedelta(days=4000)
    store = _store(at)
    store.delete_feature_service(store.list_feature_services()[0].name)
    assert [one.restored for one in at.look().treated] == [True]
    assert _store(at).list_feature_services()
    assert (at.look().treated, codes(at.incidents())) == ((), ["reconcile.features PASS"] * 2)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::RuntimeWarning", "ignore::UserWarning")
def test_without_the_champions_repository_views_are_compared_by_the_record_and_only_told(stocked: Desk) -> None:
    at = stocked
    at.again(repository="sha256:another")
    assert (at.look().treated, at.look().unseen) == ((), ())
    store = _store(at)
    name = min(at.house.built.champion.entry("featurize").facts["views"])  # type: ignore[arg-type]
    store.registry.delete_feature_view(name, store.project)
    store.registry.commit()
    found = at.look()
    assert [(one.drift.found, one.restored) for one in found.treated] == [("nothing", False)]
    assert codes(at.incidents()) == ["reconcile.features FAIL"]


def test_a_feature_store_that_is_elsewhere_is_said_to_be(at: Desk) -> None:
    ports = wiring.open_reconcile(at.house.settings, desk.load(at.house.project), actor="reconciler")
    ports.close()
    at.again(features=ports.features, repository=ports.repository)
    (said,) = at.look().unseen
    assert said.startswith("the feature store: The champion's feature store is not on this machine")


# --- Prefect ----------------------------------------------------------------------------------------------------------

FILE = """\
deployments:
  - name: flights
    entrypoint: flows/canary_tick.py:canary_tick
    parameters: {project: flights}
    tags: [towpath, flights]
    schedules: [{interval: 60, active: false}]
  - {name: another, entrypoint: flows/x.py:x}
"""


def deployed(**changes: Any) -> dict[str, Any]:
    shown = {
        "entrypoint": "flows/canary_tick.py:canary_tick",
        "parameters": {"project": "flights"},
        "paused": False,
        "schedules": [{"active": False, "schedule": {"interval": 60.0, "timezone": "UTC"}}],
    }
    return {"/api/deployments/name/canary-tick/flights": {**shown, **changes}}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"paused": True}, "paused true"),
        ({"entrypoint": "flows/mine.py:mine"}, "entrypoint flows/mine.py:mine"),
        ({"parameters": {"project": "other"}}, 'parameters {"project": "other"}'),
        ({"schedules": []}, "schedules none"),
        (None, "nothing"),
    ],
)
def test_a_deployment_that_was_changed_by_hand_is_told(
    at: Desk, tmp_path: Path, changes: dict[str, Any] | None, says: str
) -> None:
    file, pages = tmp_path / "prefect.yaml", deployed()
    file.write_text(FILE, encoding="utf-8")
    with answering(pages) as address:
        at.again(deployments=PrefectDeployments(file, f"{address}/api"))
        assert (at.look().treated, at.look().unseen) == ((), ())
        pages.clear()
        pages.update(deployed(**changes) if changes is not None else {})
        found = at.look()
        assert [(one.drift.found, one.restored) for one in found.treated] == [(says, False)]
        at.look()
    assert codes(at.incidents()) == ["reconcile.deployment FAIL"]
    assert at.look().unseen[0].startswith("Prefect: Prefect's API does not answer")


def test_a_file_that_declares_no_deployments_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "prefect.yaml"
    file.write_text("deployments: [3]", encoding="utf-8")
    with pytest.raises(DeclarationError, match=r"prefect\.yaml"):
        PrefectDeployments(file, NOWHERE).declared("flights")


# --- alerts -----------------------------------------------------------------------------------------------------------


def test_every_address_is_told_and_one_that_is_none_hides_no_other(at: Desk) -> None:
    with desk.inbox() as other:
        alerts = AppriseAlerts(["no address at all", at.inbox.address, other.address])
        at.again(alerts=alerts)
        move_alias(at.mlflow, PROJECT)
        at.look()
    assert (alerts.sent, alerts.failed) == (2, 1)
    assert len(at.inbox.told) == len(other.told) == 1


def test_without_addresses_the_ledger_holds_it_all_the_same(at: Desk) -> None:
    at.again(alerts=AppriseAlerts(()))
    move_alias(at.mlflow, PROJECT)
    at.look()
    assert Incident.model_validate(at.incidents()[0].body).findings[1].reason == "put back"
