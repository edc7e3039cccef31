"""The page of the API: every verb, from the request and the document that the server takes and gives."""

from __future__ import annotations

from typing import Any

from towpath.cli.reference_markdown import page, prose, table
from towpath.core.access import MATRIX
from towpath.verbs.table import VERBS, WORKERS
from towpath.verbs.verb import Verb

_STATUSES = (
    ("200", "done; the answer is the verb's document", ""),
    ("400", "a token in the address, or a request that cannot be read", "`bad_input`"),
    ("401", "it is not known who asks; with `WWW-Authenticate`", "`unauthenticated`"),
    ("403", "the roles of who asks do not allow it; `valid` names those that do", "`forbidden`"),
    ("404", "there is no such thing, or no such page", "`not_found`"),
    ("408", "the body did not come to its end", "`bad_input`"),
    ("409", "the record does not allow it, or moved on meanwhile", "`denied`, `out_of_order`, `conflict`"),
    ("413", "the body is larger than 1 MB", "`bad_input`"),
    ("415", "the body is not `application/json`", "`bad_input`"),
    ("422", "the request is not as it should be", "`bad_input`, `declaration`"),
    ("429", "asked too often; `Retry-After` says when again", "`too_many_requests`"),
    ("500", "a defect, or stored bytes that are not those recorded", "`towpath`, `integrity`, `misconfigured`"),
    ("503", "something that it takes does not answer; with `Retry-After`", "`unreachable`, `unwritable`"),
)


def api_page() -> str:
    """As Markdown."""
    intro = (
        "`towpath server` serves the verbs of the command line under the same names. The server's own "
        "`/openapi.json` (OpenAPI 3.1) is made from the same requests and documents as this page, and tests hold the "
        "answers to it. Every request bears `Authorization: Bearer TOKEN`, but for `/openapi.json`, `/healthz`, "
        "`/readyz` and `/metrics`."
    )
    once = (
        "A `POST` with an `Idempotency-Key` is done once: for a day the same request of the same person is answered "
        "the same, another request with that key is refused. What was refused is no answer, and is asked anew. A "
        "token's secret is in the first answer only. Lists come in pages of `limit` items (at most 500); `next` is "
        "the `cursor` of the next, and what is written meanwhile moves no page."
    )
    workers = "What works on the data is a command of a worker, where the data is: " + ", ".join(
        f"`{command}`" for command in WORKERS.values()
    )
    return page(
        "API",
        intro,
        once,
        workers + ".",
        "## Statuses\n\nWhat is refused is `application/problem+json` (RFC 9457), with the members of an "
        "[error](errors.md#errors), `detail` for its message, and `request`, the id that the log has.\n\n"
        + table(["status", "when", "code"], [list(row) for row in _STATUSES]),
        *(_verb(verb) for verb in VERBS.values()),
    )


def _verb(verb: Verb[Any, Any]) -> str:
    method = "POST" if verb.changes else "GET"
    parts = [f"## {verb.name}", verb.about, f"`{method} {verb.path}`", _right(verb)]
    if fields := _asked(verb):
        parts.append(table(["field", "in", "type", "what"], fields))
    answer = [[f"`{name}`", _type(part)] for name, part in _schema(verb.answer)["properties"].items()]
    parts.append(f"{prose(verb.answer.__doc__)}\n\n" + table(["answer", "type"], answer))
    return "\n\n".join(parts)


def _right(verb: Verb[Any, Any]) -> str:
    if verb.action is None:
        return "Takes a token, and no role."
    rule = MATRIX[verb.action]
    who = ", ".join(sorted(rule.roles))
    where = " in every project" if rule.everywhere else ""
    return f"Takes one of: {who}{where}{'; persons only' if rule.persons else ''}."


def _asked(verb: Verb[Any, Any]) -> list[list[str]]:
    schema = _schema(verb.request)
    rows = []
    for name, part in schema.get("properties", {}).items():
        where = "path" if name in verb.places else "body" if verb.changes else "query"
        required = name in schema.get("required", ()) or where == "path"
        kind = _type(part).removesuffix(" or null") if where == "path" else _type(part)
        rows.append([f"`{name}`", where, kind + ("" if required else ", optional"), part.get("description", "")])
    return rows


def _schema(kind: Any) -> dict[str, Any]:
    found: dict[str, Any] = kind.model_json_schema(ref_template="{model}")
    return found


def _type(part: dict[str, Any]) -> str:
    if "$ref" in part:
        return f"`{part['$ref']}`"
    if "anyOf" in part:
        return " or ".join(dict.fromkeys(_type(one) for one in part["anyOf"]))
    kind = str(part.get("type", "any"))
    if kind == "array":
        return f"list of {_type(part.get('items', {}))}"
    if "enum" in part:
        return ", ".join(f"`{value}`" for value in part["enum"])
    if "pattern" in part:
        return f"{kind}, `{part['pattern']}`"
    return kind
