"""A verb: its name, whom it asks for permission, what it takes, what it answers, and where the API has it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from towpath.core.access import Action
from towpath.core.identity import EVERY_PROJECT
from towpath.stages.access import authorize
from towpath.verbs.desk import Desk

_UNWRITABLE: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_PLACES: Final = re.compile(r"{(\w+)}")


class Request(BaseModel):
    """What a verb is asked with. Unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="after")
    def _is_text(self) -> Self:
        """Raises for characters that no database and no terminal takes."""
        for name, value in self:
            if isinstance(value, str) and _UNWRITABLE.search(value):
                raise ValueError(f"{name} holds a control character")
        return self


class Document(BaseModel):
    """What a verb answers, as JSON. A newer server may say more than this version knows."""

    model_config = ConfigDict(frozen=True, extra="allow")

    @property
    def body(self) -> dict[str, Any]:
        return self.model_dump(mode="json", by_alias=True)


class Page(Request):
    """A request whose answer comes in pages: each has a cursor to the next."""

    limit: int = Field(default=100, ge=1, le=500, description="How many items a page has at most.")
    cursor: str | None = Field(default=None, max_length=500, description="`next` of the page before.")


Asked = TypeVar("Asked", bound=Request)
Answered = TypeVar("Answered", bound=Document)


def everywhere(_: Request, __: Desk) -> str:
    """Of no one project: it takes a grant for every one."""
    return EVERY_PROJECT


@dataclass(frozen=True, kw_only=True)
class Verb(Generic[Asked, Answered]):
    """One thing that can be asked.

    `action`: whom `core.access.MATRIX` lets; None where it is enough to be known. `project`: in which project that must
    hold. `path`: the API's; fields of the request that it names come from there, the others from the query (of a verb
    that `changes` nothing) or the JSON body.
    """

    name: str
    about: str
    action: Action | None
    request: type[Asked]
    answer: type[Answered]
    perform: Callable[[Asked, Desk], Answered]
    project: Callable[[Asked, Desk], str] = everywhere
    path: str
    changes: bool = True

    @property
    def places(self) -> tuple[str, ...]:
        """The fields of the request that are in the path."""
        return tuple(_PLACES.findall(self.path))

    def carry_out(self, asked: Asked, desk: Desk) -> Answered:
        """Do it for whom the desk serves, if they may. Raises `Forbidden`, which is recorded, and what the verb raises.

        Reading embedded files asks nobody: who runs the command can read them anyhow.
        """
        if self.action is not None and (self.action is not Action.READ or desk.served):
            project = self.project(asked, desk)
            authorize(desk.identity, self.action, desk.ledger, project=project, now=desk.now)
        return self.perform(asked, desk)
