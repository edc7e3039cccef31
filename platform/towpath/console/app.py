"""The API as one ASGI application over an office."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from anyio import to_thread
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from towpath import __version__
from towpath.console.config import ServerConfig
from towpath.console.doorkeeper import Doorkeeper
from towpath.console.metrics import CONTENT_TYPE, Metrics
from towpath.console.operations import router, told_of
from towpath.console.performing import Performing
from towpath.console.problems import Problem, Refused, answer, defect
from towpath.core.errors import BadInput, NotFound, TowpathError
from towpath.ledger.claims import Claims
from towpath.verbs.desk import Office
from towpath.verbs.table import WORKERS

_ABOUT = """The verbs of the `towpath` command, under the same names.

Every request but those for health, metrics and this document bears `Authorization: Bearer TOKEN`: a local token
(`towpath token create`) or one of the OpenID provider. What is refused is `application/problem+json`.

What works on the data is a command of a worker, where the data is, and no request: {workers}.
"""


def create_app(office: Office, claims: Claims, config: ServerConfig) -> ASGIApp:
    """The application. The caller opens and closes office and claims."""
    metrics = Metrics()
    performing = Performing(office, claims, metrics, threads=config.threads)
    app = FastAPI(
        title="Towpath",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        lifespan=_lifespan,
    )
    app.include_router(router(performing))
    _own_pages(app, office, metrics)
    _handlers(app)
    return Doorkeeper(app, office=office, config=config, metrics=metrics)


@asynccontextmanager
async def _lifespan(_: FastAPI) -> AsyncIterator[None]:
    # Who asks is looked up in threads beside those that do what is asked.
    to_thread.current_default_thread_limiter().total_tokens = 8
    yield


def description(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    workers = ", ".join(f"`{command}`" for command in WORKERS.values())
    made = get_openapi(
        title="Towpath", version=__version__, description=_ABOUT.format(workers=workers), routes=app.routes
    )
    parts = made.setdefault("components", {})
    parts.setdefault("schemas", {})["Problem"] = Problem.model_json_schema()
    for unused in ("HTTPValidationError", "ValidationError"):
        parts["schemas"].pop(unused, None)
    parts["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
    made["security"] = [{"bearer": []}]
    return made


def _own_pages(app: FastAPI, office: Office, metrics: Metrics) -> None:
    document: dict[str, Any] = {}

    @app.get("/openapi.json", include_in_schema=False, name="openapi")
    async def openapi() -> dict[str, Any]:
        if not document:
            document.update(description(app))
        return document

    @app.get("/healthz", include_in_schema=False, name="healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/readyz", include_in_schema=False, name="readyz")
    async def readyz() -> dict[str, str]:
        await to_thread.run_sync(office.ledger.head)
        return {"status": "ready"}

    @app.get("/metrics", include_in_schema=False, name="metrics")
    async def shown() -> Response:
        return Response(metrics.text(), media_type=CONTENT_TYPE)


def _handlers(app: FastAPI) -> None:
    """Whatever a page raises is a problem."""

    @app.exception_handler(TowpathError)
    async def ours(request: Request, error: TowpathError) -> Response:
        return _response(request, Refused(error))

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> Response:
        return _response(request, error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return _response(request, Refused(told_of(error.errors())))

    @app.exception_handler(Exception)
    async def unforeseen(request: Request, _: Exception) -> Response:
        return _response(request, defect(request.state.request))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        found: TowpathError = BadInput(str(error.detail))
        if error.status_code == 404:
            command = _worker(request.url.path)
            found = NotFound(
                "There is no such page.",
                hint=f"It works on the data: run `{command}` on a worker." if command else "See /openapi.json.",
            )
        return _response(request, Refused(found, error.status_code, headers=error.headers))


def _worker(path: str) -> str | None:
    """The command of a worker that somebody looks for here."""
    last = path.rstrip("/").rpartition("/")[2]
    return next((command for action, command in WORKERS.items() if last in (action, action.rpartition("-")[2])), None)


def _response(request: Request, refused: Refused) -> Response:
    request.state.refused = refused.error  # for the log
    status, headers, body = answer(refused, request.state.request)
    return Response(body, status_code=status, headers=headers)
