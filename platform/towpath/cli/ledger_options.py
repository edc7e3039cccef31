"""The arguments that the commands of the record share."""

from __future__ import annotations

from typing import Annotated

import typer

By = Annotated[
    str | None,
    typer.Option("--by", metavar="NAME", help="Who acts, where no token says it; TOWPATH_ACTOR when left out."),
]
Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why, in a few words; it is recorded.")]
