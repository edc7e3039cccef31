"""The model card: what a model is, what it was made from, how it was judged, and where each figure is recorded.

After Mitchell et al. 2019 (*Model Cards for Model Reporting*, FAT*). Markdown first; the HTML is that Markdown
rendered, with its plots inside, so that the two cannot disagree. Text of others (reasons, names, purposes) is shown as
text, never as markup.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markdown_it import MarkdownIt
from markdown_it.token import Token

from towpath.core.charter import Charter
from towpath.core.digest import short
from towpath.core.errors import BadInput
from towpath.core.evidence import Finding, Outcome, Severity
from towpath.measure.groups import LossGroup
from towpath.measure.importance import Importance
from towpath.measure.metrics import Estimate
from towpath.measure.slices import Group
from towpath.measure.verdicts import number, rounded

_BADGES = {outcome.value: outcome.value.lower() for outcome in Outcome}


@dataclass(frozen=True, kw_only=True)
class Cite:
    """The ledger entry that a figure comes from: its place in the ledger, its stage and its digest."""

    sequence: int
    stage: str
    digest: str

    def __str__(self) -> str:
        return f"#{self.sequence} {short(self.digest)}"


@dataclass(frozen=True, kw_only=True)
class Table:
    """A dataset that the model was made from, with the window it covers in words ("" when it has none)."""

    name: str
    rows: int
    digest: str
    window: str = ""
    cite: Cite


@dataclass(frozen=True, kw_only=True)
class Feature:
    """A model input, and where it comes from: the name of its feature view, or the request."""

    name: str
    origin: str
    kind: str = ""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A measured value with its interval; `unit` "" for a share or a rank."""

    name: str
    estimate: Estimate
    unit: str = ""
    cite: Cite


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A finding with the entry that holds it."""

    finding: Finding
    cite: Cite


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A PNG: its file name beside the Markdown, what it shows, its bytes, and the entry it was drawn at."""

    file: str
    title: str
    png: bytes
    cite: Cite


@dataclass(frozen=True, kw_only=True)
class CardData:
    """All that a card says. `version` is None before the registry has given one. `candidate_digest` is that of the
    candidate's last entry when the card was made; `model_digest` that of the saved model's bytes.

    `params` are the training's parameters, `trained_at` the entry that holds them. `as_of` is the time the data was
    known at, in words. `serving` says how it is served, a sentence each.
    """

    name: str
    version: str | None
    charter: Charter
    candidate: str
    candidate_digest: str
    model_digest: str
    as_of: str
    tables: Sequence[Table]
    features: Sequence[Feature]
    features_at: Cite
    params: Mapping[str, object]
    trained_at: Cite
    metrics: Sequence[Figure]
    evaluated_at: Cite
    groups: Sequence[Group | LossGroup] = ()
    importances: Sequence[Importance] = ()
    loss: str = "log loss"
    """Of which `importances` are an increase."""
    findings: Sequence[Judged]
    plots: Sequence[Plot] = ()
    notes: Sequence[str] = field(default_factory=tuple)
    serving: Sequence[str] = field(default_factory=tuple)

    @property
    def title(self) -> str:
        return f"{self.name}, version {self.version}" if self.version else f"{self.name}, not yet registered"

    @property
    def cites(self) -> tuple[Cite, ...]:
        """Every entry that the card names, in the ledger's order."""
        named = {self.features_at, self.trained_at, self.evaluated_at}
        for items in (self.tables, self.metrics, self.findings, self.plots):
            named |= {item.cite for item in items}
        return tuple(sorted(named, key=lambda cite: cite.sequence))

    @property
    def limitations(self) -> tuple[Judged, ...]:
        """What did not pass, refusals before warnings."""
        open_ = [item for item in self.findings if item.finding.outcome is not Outcome.PASS]
        return tuple(sorted(open_, key=lambda item: item.finding.severity is Severity.WARNING))


def render(card: CardData) -> tuple[str, str]:
    """The card as Markdown, whose plots lie beside it, and as one self-contained HTML page.

    Raises `BadInput` for a plot that is no PNG.
    """
    for plot in card.plots:
        if not plot.png.startswith(b"\x89PNG\r\n\x1a\n"):
            raise BadInput(f"Plot {plot.file} is no PNG.", value=plot.file)
    markdown = _environment().get_template("card.md.j2").render(card=card)
    markdown = re.sub(r"\n{3,}", "\n\n", markdown).strip() + "\n"
    body = _to_html(markdown, {plot.file: plot.png for plot in card.plots})
    return markdown, _environment().get_template("card.html.j2").render(title=card.title, body=body)


def _to_html(markdown: str, pictures: Mapping[str, bytes]) -> str:
    """The Markdown as HTML (raw HTML in it stays text), pictures inside, outcomes as badges, wide tables scrollable."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(markdown)
    for token in _flat(tokens):
        if token.type == "image" and token.attrs.get("src") in pictures:
            data = base64.b64encode(pictures[str(token.attrs["src"])]).decode("ascii")
            token.attrs["src"] = f"data:image/png;base64,{data}"
    page = str(parser.renderer.render(tokens, parser.options, {}))
    for outcome, style in _BADGES.items():
        page = page.replace(f"<td><strong>{outcome}</strong>", f'<td><strong class="{style}">{outcome}</strong>')
    return page.replace("<table>", '<div class="wide"><table>').replace("</table>", "</table></div>")


def _flat(tokens: Sequence[Token]) -> Sequence[Token]:
    return [item for token in tokens for item in (token, *(token.children or ()))]


@cache
def _environment() -> Environment:
    # HTML templates escape what they are given; the Markdown does so through `text` and `code`.
    environment = Environment(
        loader=PackageLoader("towpath.measure"),
        autoescape=select_autoescape(enabled_extensions=("html.j2",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "short": short,
        "text": text,
        "code": code,
        "figure": figure,
        "bound": bound,
        "number": number,
        "interval": interval,
    }
    return environment


def text(value: object) -> str:
    """Text as Markdown that shows exactly it, also in a table: on one line, with every mark escaped."""
    line = re.sub(r"[ \t\r\n\f\v]+", " ", str(value)).strip().replace("&", "&amp;")
    line = re.sub(r"([\\`*\[\]<>|~!#])", r"\\\1", line)
    return re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", line)


def code(value: object) -> str:
    """Text as a code span, also in a table."""
    line = " ".join(str(value).split())
    fence = "`" * (max(map(len, re.findall("`+", line)), default=0) + 1)
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{pad}{line}{pad}{fence}".replace("|", "\\|") if line else ""


def figure(value: Any) -> str:
    """A finding's measured value for people: figures shortened, words as they are."""
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else number(value) if isinstance(value, float) else text(value)


def bound(words: str) -> str:
    """A finding's bound for people, its sign and its number never apart."""
    signs = {">=": "\u2265", "<=": "\u2264", ">": ">", "<": "<", "=": "="}
    sign, _, rest = words.partition(" ")
    return text(f"{signs[sign]}\u00a0{rest}" if sign in signs and rest else words or "-")


def interval(ends: tuple[float, float] | None) -> str:
    return "-" if ends is None else f"{number(rounded(ends[0]))} to {number(rounded(ends[1]))}"
