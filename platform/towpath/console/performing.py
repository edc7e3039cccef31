"""Doing what is asked, once: in a thread, and under its Idempotency-Key when it has one."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any, Final

from anyio import CapacityLimiter, to_thread
from fastapi import Response

from towpath.console.metrics import Metrics
from towpath.core import digest as digests
from towpath.core.errors import Conflict, Forbidden, TowpathError
from towpath.core.identity import Identity
from towpath.ledger.claims import Claims, Kept
from towpath.verbs.desk import Office
from towpath.verbs.verb import Document, Request, Verb

_PATIENCE_SECONDS: Final = 20.0
_LOOK_SECONDS: Final = 0.05
_SECRET: Final = {"token-create": "token"}
"""What an answer shows once, and is kept without."""
_log = logging.getLogger(__name__)


class Performing:
    """The verbs of an office. `threads`: how many are done at once; each may hold a connection to the database."""

    def __init__(self, office: Office, claims: Claims, metrics: Metrics, *, threads: int) -> None:
        self._office = office
        self._claims = claims
        self._metrics = metrics
        self._limiter = CapacityLimiter(threads)

    async def answer(self, verb: Verb[Any, Any], asked: Request, identity: Identity, *, key: str | None) -> Response:
        """The verb's document. Raises what the verb raises."""
        if key is None:
            return _json(200, (await self._do(verb, asked, identity)).model_dump_json(by_alias=True))
        return await self._once(verb, asked, identity, key)

    async def _once(self, verb: Verb[Any, Any], asked: Request, identity: Identity, key: str) -> Response:
        """Claim the key, or wait for whoever has it; keep what can be given again."""
        fingerprint = digests.of_json({"verb": verb.name, "asked": asked.model_dump(mode="json")})
        kept = await self._claimed(identity.person, key, fingerprint)
        if kept is not None:
            return _json(kept.status, kept.answer, again=True)
        try:
            done = await self._do(verb, asked, identity)
            shown = done.model_dump_json(by_alias=True)
            keep = Kept(status=200, answer=_without_secret(verb, done, shown))
            await self._run(self._claims.answer, identity.person, key, keep)
        except BaseException:
            # What was refused is asked anew: meanwhile somebody may have approved, or the service may be back.
            await asyncio.shield(self._run(self._claims.release, identity.person, key))
            raise
        return _json(200, shown)

    async def _claimed(self, person: str, key: str, fingerprint: str) -> Kept | None:
        end = asyncio.get_running_loop().time() + _PATIENCE_SECONDS
        while True:
            try:
                found: Kept | None = await self._run(self._claims.claim, person, key, fingerprint)
            except Conflict:
                if asyncio.get_running_loop().time() > end:
                    raise
                await asyncio.sleep(_LOOK_SECONDS)
                continue
            return found

    async def _do(self, verb: Verb[Any, Any], asked: Request, identity: Identity) -> Document:
        try:
            done: Document = await self._run(self._carry_out, verb, asked, identity)
        except Forbidden:
            self._metrics.refused("forbidden")
            raise
        except TowpathError as error:
            _log.info("operation=%s person=%s code=%s %s", verb.name, identity.person, error.code, error.message)
            raise
        return done

    def _carry_out(self, verb: Verb[Any, Any], asked: Request, identity: Identity) -> Document:
        done: Document = verb.carry_out(asked, self._office.desk(identity))
        return done

    async def _run(self, function: Any, *arguments: Any) -> Any:
        return await to_thread.run_sync(function, *arguments, limiter=self._limiter)


def _without_secret(verb: Verb[Any, Any], done: Document, shown: str) -> str:
    if verb.name not in _SECRET:
        return shown
    return json.dumps({**done.body, _SECRET[verb.name]: None}, ensure_ascii=False)


def _json(status: int, text: str, *, again: bool = False) -> Response:
    headers = {"idempotent-replayed": "true"} if again else None
    return Response(text, status_code=status, media_type="application/json", headers=headers)
