"""The pages: one for each verb, made from the verb itself, so that what is described is what is done."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Header, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from pydantic.fields import FieldInfo

from towpath.console.performing import Performing
from towpath.console.problems import MEDIA_TYPE, TITLES, Problem
from towpath.core.errors import BadInput
from towpath.core.identity import Identity
from towpath.verbs.table import VERBS
from towpath.verbs.verb import Verb

Endpoint = Callable[..., Awaitable[Response]]
_READING: Final = (400, 401, 403, 404, 405, 409, 422, 429, 500, 503)
_CHANGING: Final = (*_READING[:6], 408, 413, 415, *_READING[6:])
KEY: Final = Header(
    alias="Idempotency-Key",
    min_length=1,
    max_length=200,
    pattern=r"^[!-~]+$",
    description="Of your choice. A request is done once under it, and answered the same for a day.",
)


def router(performing: Performing) -> APIRouter:
    """Every page."""
    made = APIRouter()
    for verb in VERBS.values():
        made.add_api_route(
            verb.path,
            _endpoint(verb, performing),
            methods=["POST" if verb.changes else "GET"],
            name=verb.name,
            operation_id=verb.name,
            summary=verb.about,
            description=_description(verb),
            response_model=None,
            responses=_responses(verb),
            tags=[verb.path.split("/")[2]],
        )
    return made


def _description(verb: Verb[Any, Any]) -> str:
    said = (verb.perform.__doc__ or "").strip().splitlines()[0] if verb.perform.__doc__ else ""
    who = f" Takes the right to `{verb.action}`." if verb.action is not None else " Takes a token, and no role."
    return said + who


def _responses(verb: Verb[Any, Any]) -> dict[int | str, dict[str, Any]]:
    found: dict[int | str, dict[str, Any]] = {200: {"model": verb.answer, "description": "Done."}}
    for status in _CHANGING if verb.changes else _READING:
        content = {MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{Problem.__name__}"}}}
        found[status] = {"description": TITLES[status], "content": content}
    return found


def _endpoint(verb: Verb[Any, Any], performing: Performing) -> Endpoint:
    """What FastAPI calls: its signature says which fields come from the path, the query and the body."""
    body = _body(verb) if verb.changes else None

    async def endpoint(request: Request, **given: Any) -> Response:
        key = given.pop("idempotency_key", None)
        sent: BaseModel | None = given.pop("body", None)
        if sent is not None:
            given |= {name: getattr(sent, name) for name in sent.model_fields_set}
        if not verb.changes:
            _require_known_query(request, verb)
        try:
            asked = verb.request.model_validate({name: value for name, value in given.items() if value is not None})
        except ValidationError as error:
            raise unreadable(error) from error
        identity: Identity = request.state.identity
        return await performing.answer(verb, asked, identity, key=key)

    parameters = [inspect.Parameter("request", inspect.Parameter.KEYWORD_ONLY, annotation=Request)]
    parameters += [
        _parameter(name, field, verb)
        for name, field in verb.request.model_fields.items()
        if name in verb.places or not verb.changes
    ]
    if body is not None:
        parameters.append(inspect.Parameter("body", inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[body, Body()]))
        keyed = Annotated[str | None, KEY]
        parameters.append(
            inspect.Parameter("idempotency_key", inspect.Parameter.KEYWORD_ONLY, annotation=keyed, default=None)
        )
    endpoint.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return endpoint


def _parameter(name: str, field: FieldInfo, verb: Verb[Any, Any]) -> inspect.Parameter:
    where: Any = Path if name in verb.places else Query
    about = where(description=field.description)
    kind: Any = field.annotation
    if name in verb.places:
        kind = _required(kind)
    annotated = Annotated[(kind, *field.metadata, about)]
    default = inspect.Parameter.empty if name in verb.places or field.is_required() else field.default
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotated, default=default)


def _required(kind: Any) -> Any:
    """A field that may be left out elsewhere stands in the path."""
    return str if kind == (str | None) else kind


def _body(verb: Verb[Any, Any]) -> type[BaseModel]:
    """The request without what the path says."""
    fields: dict[str, Any] = {
        name: (field.annotation if not field.metadata else Annotated[(field.annotation, *field.metadata)], field)
        for name, field in verb.request.model_fields.items()
        if name not in verb.places
    }
    config = ConfigDict(extra="forbid", title=verb.request.__name__, allow_inf_nan=False)
    made: type[BaseModel] = create_model(verb.request.__name__, __config__=config, **fields)
    made.__doc__ = verb.request.__doc__
    return made


def _require_known_query(request: Request, verb: Verb[Any, Any]) -> None:
    known = [name for name in verb.request.model_fields if name not in verb.places]
    names = [name for name, _ in request.query_params.multi_items()]
    for name in names:
        if name not in known:
            raise BadInput(f"There is no parameter {name!r}.", value=name, valid=known)
        if names.count(name) > 1:
            raise BadInput(f"The parameter {name!r} is given twice.", value=name)


def unreadable(error: ValidationError) -> BadInput:
    """What pydantic says, as ours."""
    return told_of(error.errors(include_url=False, include_context=False, include_input=False))


def told_of(errors: Any) -> BadInput:
    """The first fault that a validation found, with where it is."""
    first = errors[0]
    where = ".".join(str(part) for part in first.get("loc", ()) if part not in ("body", "query", "path", "header"))
    more = f" ({len(errors)} faults in all)" if len(errors) > 1 else ""
    return BadInput(f"{where or 'The request'}: {first['msg']}{more}.", value=where or None)
