"""The ASGI application: which page answers, in which protocol, and what is done once the reply is out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from itertools import count
from secrets import token_hex
from time import perf_counter, time
from urllib.parse import parse_qs

from towpath import __version__
from towpath.core.errors import BadInput, NotFound, TowpathError
from towpath.gateway import feedback, invocations, openapi, pages, tensors
from towpath.gateway.answering import Answer, Answering
from towpath.gateway.asked import request_id
from towpath.gateway.faults import WrongMedia, WrongMethod
from towpath.gateway.metrics import CONTENT_TYPE, Metrics, exposition
from towpath.gateway.outputs import Outputs
from towpath.gateway.replies import (
    JSON,
    Header,
    Receive,
    Reply,
    Scope,
    Send,
    encode,
    json_reply,
    read_body,
    refusal,
    send_reply,
    text_reply,
)

_MODELS = "/v2/models/"
_GET = ("GET", "HEAD")
_log = logging.getLogger(__name__)


class App:
    """The application over the projects' answers by name. `write` takes the labels' lines."""

    def __init__(
        self,
        projects: Mapping[str, Answering],
        *,
        metrics: Metrics,
        metrics_folder: str | None,
        write: Callable[[bytes], bool],
    ) -> None:
        self._projects = projects
        self._metrics = metrics
        self._metrics_folder = metrics_folder
        self._write = write
        self._only = next(iter(projects)) if len(projects) == 1 else None
        self._prefix, self._numbers = f"{token_hex(6)}-", count(1)
        self._pages: Mapping[str, Callable[[], Reply]] = {
            "/v2": pages.server,
            "/v2/health/live": lambda: json_reply({"live": True}),
            "/v2/health/ready": lambda: pages.ready(projects),
            "/healthz": lambda: text_reply("ok\n"),
            "/readyz": lambda: pages.ready(projects),
            "/ping": lambda: text_reply("\n", status=pages.ready(projects).status),
            "/health": lambda: text_reply("\n", status=pages.ready(projects).status),
            "/version": lambda: text_reply(__version__),
            "/metrics": self._exposition,
            "/openapi.json": lambda: json_reply(openapi.document(projects)),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request. Whatever goes wrong becomes a reply; nothing but a fault of ours is a 500."""
        if scope["type"] != "http":
            return
        headers = dict(scope["headers"])
        endpoint, answer = "other", None
        path: str = scope["path"]
        try:
            page = self._pages.get(path)
            if page is not None:
                endpoint = path
                reply = self._page(scope, page)
            elif path == "/invocations":
                endpoint = path
                reply, answer = await self._invocations(scope, headers, receive)
            elif path == "/v1/feedback":
                endpoint = path
                reply = await self._feedback(scope, headers, receive)
            elif path.startswith(_MODELS):
                endpoint, name, version, verb = _model_path(path)
                reply, answer = await self._model(scope, headers, receive, name, version, verb)
            else:
                raise NotFound(f"There is no page {path[:80]!r}.", value=path[:80], valid=["see /openapi.json"])
        except _Gone:
            return
        except TowpathError as error:
            reply = refusal(error, mlflow=path == "/invocations")
        except Exception:  # noqa: BLE001 - a client is told something, whatever happened
            _log.exception("request to %s", path[:80])
            reply = json_reply({"error": "The gateway failed; its log says how."}, status=500)
        await self._send(scope, send, reply, answer)
        self._metrics.requested(endpoint, reply.status)

    async def _send(self, scope: Scope, send: Send, reply: Reply, answer: tuple[Answering, Answer] | None) -> None:
        if answer is None:
            await send_reply(scope, send, reply)
            return
        answering, given = answer
        try:
            answering.record(given)
        except Exception:  # noqa: BLE001 - the log is never the request's trouble
            _log.exception("the prediction log of %s", answering.project)
            self._metrics.log_lost.inc()
        await send_reply(scope, send, reply)
        answering.after(given)

    def _page(self, scope: Scope, page: Callable[[], Reply]) -> Reply:
        _require(scope, _GET)
        return page()

    async def _model(
        self, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive, name: str, version: str | None, verb: str
    ) -> tuple[Reply, tuple[Answering, Answer] | None]:
        answering = pages.find(self._projects, name)
        if verb == "":
            return self._page(scope, lambda: pages.metadata(answering, version)), None
        if verb == "ready":
            return self._page(scope, lambda: pages.model_ready(answering, version)), None
        _require(scope, ("POST",))
        _require_json(headers)
        body = await _body(headers, receive)
        begun = perf_counter()
        plan = answering.ready()
        if version is not None:
            plan = pages.pinned(plan, version)
        outputs = plan.outputs
        asked = tensors.decode(
            body,
            plan.schema,
            request=self._request(headers),
            max_rows=answering.serving.max_rows,
            offered=outputs.names,
        )
        answer = await answering.answer(asked, begun, plan)
        return _inferred(answering, answer, outputs), (answering, answer)

    async def _invocations(
        self, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive
    ) -> tuple[Reply, tuple[Answering, Answer] | None]:
        _require(scope, ("POST",))
        answering = pages.find(self._projects, self._named(scope))
        body = await _body(headers, receive)
        begun = perf_counter()
        plan = answering.ready()
        media = headers.get(b"content-type", b"").decode("latin-1")
        outputs = plan.outputs
        asked = invocations.decode(
            body,
            media,
            plan.schema,
            request=self._request(headers),
            max_rows=answering.serving.max_rows,
            methods=outputs.methods,
        )
        answer = await answering.answer(asked, begun, plan)
        if answer.refusal is not None:
            return refusal(answer.refusal, headers=_headers(answer), mlflow=True), (answering, answer)
        found = outputs.predictions(answer.predictions, None if asked.outputs is None else asked.outputs[0])
        reply = Reply(body=encode({"predictions": found}), headers=(JSON, *_headers(answer)))
        return reply, (answering, answer)

    async def _feedback(self, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive) -> Reply:
        _require(scope, ("POST",))
        _require_json(headers)
        body = await _body(headers, receive)
        classed = {name: answering.classed for name, answering in self._projects.items()}
        project, labels = feedback.decode(body, classed)
        accepted = feedback.record(project, labels, at=time(), classed=classed[project], write=self._write)
        self._projects[project].metrics.labels.inc(accepted)
        return json_reply({"accepted": accepted})

    def _named(self, scope: Scope) -> str:
        """The model that `/invocations` asks: the only one, or that of the query."""
        given = parse_qs(scope["query_string"].decode("latin-1")).get("model", []) if scope["query_string"] else []
        if given:
            return str(given[-1])
        if self._only is None:
            raise BadInput(
                "Several models are served here.",
                valid=sorted(self._projects),
                hint="Say which: /invocations?model=NAME",
            )
        return self._only

    def _request(self, headers: Mapping[bytes, bytes]) -> str:
        given = headers.get(b"x-request-id")
        return f"{self._prefix}{next(self._numbers):x}" if given is None else request_id(given.decode("latin-1"))

    def _exposition(self) -> Reply:
        self._metrics.tally.flush()
        return Reply(body=exposition(self._metrics_folder), headers=((b"content-type", CONTENT_TYPE.encode()),))


class _Gone(Exception):
    """The client went away before its request was whole."""


def _inferred(answering: Answering, answer: Answer, outputs: Outputs) -> Reply:
    headers = _headers(answer)
    if answer.refusal is not None:
        return refusal(answer.refusal, headers=headers)
    parameters: dict[str, object] = {"arm": answer.arm, "model": _digest(answer), "fallback": answer.fallback}
    if answer.assigned.split is not None:
        parameters |= {"rollout": answer.assigned.split.rollout}
    if answer.arm == "mixed":
        parameters["arms"] = answer.arms()
    if answer.features is not None:
        parameters["features"] = answer.features
    found = tensors.InferResponse(
        model_name=answering.project,
        model_version=_version(answer),
        id=answer.asked.request,
        parameters=parameters,
        outputs=outputs.tensors(answer.predictions, len(answer.asked.rows), answer.asked.outputs),
    )
    return Reply(body=encode(found), headers=(JSON, *headers))


def _headers(answer: Answer) -> tuple[Header, ...]:
    """What an answer says of itself in every protocol."""
    found: tuple[Header, ...] = (
        (b"x-request-id", answer.asked.request.encode()),
        (b"x-towpath-model", _digest(answer).encode()),
        (b"x-towpath-version", _version(answer).encode()),
        (b"x-towpath-arm", answer.arm.encode()),
    )
    if answer.fallback is not None:
        found = (*found, (b"x-towpath-fallback", answer.fallback.encode()))
    if answer.features is not None and any(answer.features.values()):
        shown = ", ".join(f"{name}={number}" for name, number in answer.features.items() if number)
        found = (*found, (b"x-towpath-features", shown.encode()))
    return found


def _version(answer: Answer) -> str:
    """The version that answered; of several, all; `default` when none did."""
    if len(answer.given) == 1 and answer.given[0].by is not None:
        return answer.given[0].by.approved.version
    return ",".join(item.by.approved.version if item.by is not None else "default" for item in answer.given)


def _digest(answer: Answer) -> str:
    if len(answer.given) == 1 and answer.given[0].by is not None:
        return answer.given[0].by.approved.model
    return ",".join(item.by.approved.model if item.by is not None else "default" for item in answer.given)


def _model_path(path: str) -> tuple[str, str, str | None, str]:
    """Endpoint, model, version and verb of a path below `/v2/models/`. Raises `NotFound`."""
    parts = path[len(_MODELS) :].split("/")
    version = None
    if len(parts) >= 3 and parts[1] == "versions":
        version = parts[2]
        del parts[1:3]
    verb = "/".join(parts[1:])
    if verb not in ("", "ready", "infer") or (len(parts) > 1 and verb == ""):
        raise NotFound(f"There is no page {path[:80]!r}.", value=path[:80], valid=["infer", "ready", "versions/…"])
    return f"{_MODELS}{verb or 'metadata'}", parts[0], version, verb


def _require(scope: Scope, methods: tuple[str, ...]) -> None:
    if scope["method"] not in methods:
        raise WrongMethod(f"{scope['method']} is not done here.", value=scope["method"], valid=methods)


def _require_json(headers: Mapping[bytes, bytes]) -> None:
    media = headers.get(b"content-type")
    if (
        media is not None
        and media != b"application/json"
        and media.partition(b";")[0].strip().lower() not in (b"application/json", b"")
    ):
        raise WrongMedia(
            f"The content type {media[:60].decode('latin-1')!r} is not read here.", valid=["application/json"]
        )


async def _body(headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
    body = await read_body(headers, receive)
    if body is None:
        raise _Gone
    return body
