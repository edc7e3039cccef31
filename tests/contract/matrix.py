"""Changes of a contract and what each is: the base is the shop's contract with what else a contract can agree on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from towpath.cli.reference_markdown import page, table
from towpath.core.contract import parse
from towpath.core.contract_changes import Comparison, Impact, compare
from unit import shop

Document = dict[str, Any]
BREAKING, COMPATIBLE, METADATA = Impact.BREAKING, Impact.COMPATIBLE, Impact.METADATA
PAGE = Path(__file__).parents[2] / "docs/reference/contract-changes.md"
AS_OF = date(2026, 1, 1)
_GONE = object()


@dataclass(frozen=True, kw_only=True)
class Case:
    """A change that a person makes, and the one difference of the contract that it must come out as."""

    about: str
    where: str
    impact: Impact
    edit: Callable[[Document], object]
    back: bool = False  # the base is the new contract, the edited one the old

    def compared(self) -> Comparison:
        old, new = base(), base()
        self.edit(old if self.back else new)
        contracts = [parse(one, origin="shop.yaml") for one in (old, new)]
        return compare(*contracts, old, new, as_of=AS_OF)


def base() -> Document:
    document = shop.document()
    document["servers"] = [{"server": "lake", "type": "s3", "location": "s3://shop/orders", "description": "The lake."}]
    document["roles"] = [{"role": "reader", "access": "read"}]
    document["price"] = {"priceAmount": 10, "priceCurrency": "EUR", "priceUnit": "month"}
    document["tags"] = ["sales"]
    document["slaProperties"] += [
        {"property": "latency", "value": 4, "unit": "h", "description": "From the till."},
        {"property": "availability", "value": 99.5, "unit": "%"},
        {"property": "generalAvailability", "value": "2024-01-01"},
    ]
    next(one for one in document["schema"] if one["name"] == "orders")["properties"] += [
        {"name": "phone", "logicalType": "string", "customProperties": _masked("pseudonym")},
        {"name": "age", "logicalType": "integer", "customProperties": _masked({"bucket": 5})},
        {**_column("gone"), "deprecated": True, "customProperties": _removed("2026-01-01")},
        {**_column("going"), "deprecated": True, "customProperties": _removed("2026-06-30")},
        {**_column("old"), "deprecated": True},
    ]
    shop.column(document, "orders", "amount").update(physicalType="DOUBLE", description="In euro.")
    shop.column(document, "orders", "size")["quality"][0]["name"] = "sizes"
    return document


def _masked(mask: Any) -> list[Document]:
    return [{"property": "mask", "value": mask}]


def _removed(day: str) -> list[Document]:
    return [{"property": "removalDate", "value": day}]


def put(path: str, **values: Any) -> Callable[[Document], object]:
    """Sets keys of what a path leads to (`orders.amount`, then keys and positions); `_GONE` removes one."""

    def edit(document: Document) -> None:
        part = _found(document, path)
        for key, value in values.items():
            part[key] = value
            if value is _GONE:
                del part[key]

    return edit


def add(path: str, item: Any, *, first: bool = False) -> Callable[[Document], object]:
    return lambda document: _found(document, path).insert(0 if first else 1000, item)


def drop(path: str, at: int = 0) -> Callable[[Document], object]:
    return lambda document: _found(document, path).pop(at)


def _without(name: str) -> Callable[[Document], object]:
    """Removes a column of the orders."""

    def edit(document: Document) -> None:
        columns = _found(document, "orders/properties")
        columns.remove(next(one for one in columns if one["name"] == name))

    return edit


def _found(document: Document, path: str) -> Any:
    part: Any = document
    for step in path.split("/") if path else ():
        if isinstance(part, list):
            part = part[int(step)] if step.isdigit() else next(one for one in part if one["name"] == step)
        elif step in ("customers", "orders"):
            part = next(one for one in part["schema"] if one["name"] == step)
        elif step not in part and "properties" in part:
            part = next(one for one in part["properties"] if one["name"] == step)
        else:
            part = part[step]
    return part


def _pair(
    about: str, where: str, forth: Impact, opposite: str, back: Impact, edit: Callable[[Document], object]
) -> Iterator[Case]:
    """A change and its opposite."""
    yield Case(about=about, where=where, impact=forth, edit=edit)
    yield Case(about=opposite, where=where, impact=back, edit=edit, back=True)


def _column(name: str = "gift") -> Document:
    return {"name": name, "logicalType": "boolean"}


def _table() -> Document:
    return {"name": "returns", "properties": [_column("id")]}


_O, _AMOUNT, _CODE = "schema[orders]", "orders/amount/logicalTypeOptions", "orders/code/logicalTypeOptions"
_LINK = "orders/customer/relationships/0"
_TO = f"{_O}.customer to customers.id"
_REF = f"{_O}.relationships[customer to customers.id]"
_B, _C, _M = BREAKING, COMPATIBLE, METADATA
_COUNT, _SQL = f"{_O}.quality[rowCount].bound", f"{_O}.quality[not-before]"
_LIMIT = {"property": "mustBeLessOrEqualTo"}

CASES: tuple[Case, ...] = (
    *_pair("A table is added", "schema[returns]", _C, "A table is removed", _B, add("schema", _table())),
    *_pair("A column is added", f"{_O}.gift", _C, "A column is removed", _B, add("orders/properties", _column())),
    *_pair("Columns stand in another order", _O, _M, "Columns stand in the old order", _M,
           lambda one: _found(one, "orders/properties").reverse()),
    *_pair("A number becomes an integer", f"{_O}.amount.logicalType", _B, "An integer becomes a number", _B,
           put("orders/amount", logicalType="integer", logicalTypeOptions=_GONE)),
    *_pair("A column becomes required", f"{_O}.code.required", _C, "A column becomes optional", _B,
           put("orders/code", required=True)),
    *_pair("A column becomes unique", f"{_O}.code.unique", _C, "A column is unique no longer", _B,
           put("orders/code", unique=True)),
    *_pair("A column joins the primary key", f"{_O}.primaryKey", _B, "A column leaves the primary key", _B,
           put("orders/customer", primaryKey=True, primaryKeyPosition=2)),
    *_pair("A first time is moved back", f"{_O}.packed_at.minimum", _B, "A first time is moved on", _C,
           put("orders/packed_at/logicalTypeOptions", exclusiveMinimum="2023-01-01T00:00:00Z")),
    *_pair("A minimum of whole numbers is lowered", f"{_O}.pieces.minimum", _B, "A minimum of whole numbers is raised",
           _C, put("orders/pieces/logicalTypeOptions", minimum=0)),
    *_pair("A maximum is raised", f"{_O}.amount.maximum", _B, "A maximum is lowered", _C, put(_AMOUNT, maximum=2000)),
    *_pair("A maximum is removed", f"{_O}.amount.maximum", _B, "A maximum is set", _C, put(_AMOUNT, maximum=_GONE)),
    *_pair("The end joins the range", f"{_O}.amount.minimum", _B, "The end leaves the range", _C,
           put(_AMOUNT, minimum=0, exclusiveMinimum=_GONE)),
    *_pair("A step is halved", f"{_O}.amount.multipleOf", _B, "A step is doubled", _C, put(_AMOUNT, multipleOf=0.05)),
    *_pair("A step is removed", f"{_O}.amount.multipleOf", _B, "A step is set", _C, put(_AMOUNT, multipleOf=_GONE)),
    *_pair("Text may be longer", f"{_O}.code.maxLength", _B, "Text must be shorter", _C, put(_CODE, maxLength=12)),
    *_pair("Text has a least length", f"{_O}.code.minLength", _C, "Text has no least length", _B,
           put(_CODE, minLength=2)),
    *_pair("A pattern is another", f"{_O}.code.pattern", _B, "A pattern is the old one", _B,
           put(_CODE, pattern="^[A-Z]{3}$")),
    *_pair("A pattern is removed", f"{_O}.code.pattern", _B, "A pattern is set", _C, put(_CODE, pattern=_GONE)),
    *_pair("A format of text is removed", "schema[customers].email.pattern", _B, "A format of text is set", _C,
           put("customers/email", logicalTypeOptions=_GONE)),
    *_pair("A value is added to a list", f"{_O}.state.enum", _B, "A value is removed from a list", _C,
           add("orders/state/enum", {"value": "sent"})),
    *_pair("A list of values is removed", f"{_O}.state.enum", _B, "A list of values is set", _C,
           put("orders/state", enum=_GONE)),
    Case(about="A list has another order", where=f"{_O}.state.enum", impact=_M,
         edit=lambda one: _found(one, "orders/state/enum").reverse()),
    Case(about="A value gets a label", where=f"{_O}.state.enum[new].label", impact=_M,
         edit=put("orders/state/enum/0", label="New")),
    *_pair("Times lose their zone", f"{_O}.placed_at.timezone", _B, "Times get a zone", _B,
           put("orders/placed_at/logicalTypeOptions", timezone=False)),
    *_pair("Whether times have a zone is said no longer", f"{_O}.packed_at.timezone", _B,
           "Whether times have a zone is said", _C, put("orders/packed_at/logicalTypeOptions", timezone=_GONE)),
    *_pair("A column becomes known later", f"{_O}.id.knownAt", _B, "A column becomes known earlier", _B,
           put("orders/id/customProperties/0", value="packed_at")),
    *_pair("A column is classified higher", f"{_O}.note.classification", _B, "A column is classified lower", _C,
           put("orders/note", classification="confidential")),
    Case(about="A column without a class is called public", where=f"{_O}.note.classification", impact=_M,
         edit=put("orders/note", classification="public")),
    Case(about="A class of an unknown name", where=f"{_O}.note.classification", impact=_B,
         edit=put("orders/note", classification="tier 3")),
    *_pair("A column gets a pseudonym", f"{_O}.note.mask", _B, "A pseudonym is taken off", _B,
           put("orders/note", customProperties=_masked("pseudonym"))),
    Case(about="A pseudonym is of another key", where=f"{_O}.phone.mask", impact=_B,
         edit=put("orders/phone/customProperties/0", value={"pseudonym": "shop"})),
    *_pair("Buckets become wider", f"{_O}.age.mask", _B, "Buckets become narrower", _B,
           put("orders/age/customProperties/0", value={"bucket": 10})),
    Case(about="A pseudonym becomes the first characters", where=f"{_O}.phone.mask", impact=_B,
         edit=put("orders/phone/customProperties/0", value={"first": 3})),
    *_pair("A column is dropped at ingestion", f"{_O}.age.mask", _B, "A column is dropped no longer", _C,
           put("orders/age/customProperties/0", value="drop")),
    *_pair("A column that nobody gets is declared", f"{_O}.fax.mask", _M, "A dropped column is declared no longer", _M,
           add("orders/properties", {"name": "fax", "logicalType": "string", "customProperties": _masked("drop")})),
    *_pair("A column is deprecated", f"{_O}.note.deprecated", _C, "A column is deprecated no longer", _C,
           put("orders/note", deprecated=True)),
    Case(about="A deprecated column is removed on its removal date", where=f"{_O}.gone", impact=_C,
         edit=_without("gone")),
    Case(about="A deprecated column is removed before its removal date", where=f"{_O}.going", impact=_B,
         edit=_without("going")),
    Case(about="A deprecated column without a removal date is removed", where=f"{_O}.old", impact=_B,
         edit=_without("old")),
    Case(about="A deprecated column is dropped at ingestion on its removal date", where=f"{_O}.gone.mask", impact=_C,
         edit=add("orders/gone/customProperties", _masked("drop")[0])),
    Case(about="A deprecated column is dropped at ingestion before its removal date", where=f"{_O}.going.mask",
         impact=_B, edit=add("orders/going/customProperties", _masked("drop")[0])),
    *_pair("A deprecated column gets a removal date", f"{_O}.old.removalDate", _C, "A removal date is taken back", _C,
           put("orders/old", customProperties=_removed("2026-03-31"))),
    Case(about="A deprecated column gets a removal date that has come", where=f"{_O}.old.removalDate", impact=_B,
         edit=put("orders/old", customProperties=_removed("2026-01-01"))),
    *_pair("A removal date is moved on", f"{_O}.going.removalDate", _C, "A removal date is moved back", _B,
           put("orders/going/customProperties/0", value="2026-09-30")),
    Case(about="A removal date is moved back to a day that has come", where=f"{_O}.going.removalDate", impact=_B,
         edit=put("orders/going/customProperties/0", value="2025-12-31")),
    Case(about="A table is deprecated", where=f"{_O}.deprecated", impact=_C, edit=put("orders", deprecated=True)),
    *_pair("A rule is removed", f"{_O}.note.quality[missingValues]", _B, "A rule is added", _C,
           drop("orders/note/quality")),
    Case(about="A rule that only warned is removed", where=f"{_O}.pieces.quality[invalidValues]", impact=_C,
         edit=drop("orders/pieces/quality")),
    *_pair("A rule only warns", f"{_O}.size.quality[sizes].severity", _B, "A rule refuses", _C,
           put("orders/size/quality/0", severity="warning")),
    *_pair("A rule tolerates more", f"{_O}.size.quality[sizes].bound", _B, "A rule tolerates less", _C,
           put("orders/size/quality/0", mustBeLessThan=40)),
    Case(about="A rule counts rows instead of a share", where=f"{_O}.size.quality[sizes].bound", impact=_B,
         edit=put("orders/size/quality/0", unit="rows")),
    *_pair("A rule accepts another value", f"{_O}.size.quality[sizes].arguments.enum", _B,
           "A rule accepts a value less", _C, put("orders/size/quality/0", arguments={"validValues": ["S", "M", "L"]})),
    *_pair("A rule counts less as missing", f"{_O}.note.quality[missingValues].missingValues", _B,
           "A rule counts more as missing", _C, put("orders/note/quality/0", arguments={"missingValues": [None, ""]})),
    Case(about="Failing rows are set aside", where=f"{_O}.size.quality[sizes].quarantine", impact=_C,
         edit=put("orders/size/quality/0", customProperties=[{"property": "quarantine", "value": True}])),
    Case(about="Failing rows stay in", where=f"{_O}.size.quality[sizes].quarantine", impact=_B,
         edit=put("orders/size/quality/0", customProperties=[{"property": "quarantine", "value": False}])),
    *_pair("More rows may come", _COUNT, _B, "Fewer rows may come", _C,
           put("orders/quality/0", mustBeBetween=[8, 20])),
    Case(about="A bound in other words", where=f"{_O}.coupon.quality[duplicateValues].bound", impact=_M,
         edit=put("orders/coupon/quality/0", mustBeLessThan=_GONE, mustBeLessOrEqualTo=2)),
    Case(about="A query is another", where=f"{_SQL}.query", impact=_B,
         edit=put("orders/quality/2", query="SELECT count(*) FROM {object} WHERE packed_at < placed_at")),
    Case(about="A rule is explained otherwise", where=f"{_SQL}.description", impact=_M,
         edit=put("orders/quality/2", description="Packed after its day.")),
    Case(about="A rule in words is removed", where=f"{_O}.quality[text]", impact=_M, edit=drop("orders/quality", 4)),
    *_pair("A reference is removed", _REF, _B, "A reference is added", _C, drop("orders/customer/relationships")),
    *_pair("A reference tolerates more", f"{_REF}.bound", _B, "A reference tolerates less", _C,
           put(f"{_LINK}/customProperties/0", value=30)),
    *_pair("The newest row may be older", f"{_O}.freshness", _B, "The newest row must be younger", _C,
           put("slaProperties/0", value=3)),
    *_pair("Freshness is promised no longer", f"{_O}.freshness", _B, "Freshness is promised", _C,
           drop("slaProperties")),
    Case(about="Freshness is measured by another column", where=f"{_O}.freshness.element", impact=_B,
         edit=put("slaProperties/0", element="orders.packed_at")),
    Case(about="Freshness only warns", where=f"{_O}.freshness.severity", impact=_B,
         edit=put("slaProperties/0", customProperties=[{"property": "severity", "value": "warning"}])),
    Case(about="Freshness in another unit", where="contract", impact=_M,
         edit=put("slaProperties/0", value=48, unit="h")),
    *_pair("Freshness is to hold less often", "slaProperties[freshness of orders.placed_at].sloObjective", _B,
           "Freshness is to hold more often", _C,
           put("slaProperties/0", customProperties=[{"property": "sloObjective", "value": 90}])),
    *_pair("Latency is to hold over another time", "slaProperties[latency].sloWindow", _B,
           "Latency is to hold over the old time", _B,
           put("slaProperties/1", customProperties=[{"property": "sloWindow", "value": "7d"}])),
    *_pair("Data come later", "slaProperties[latency]", _B, "Data come earlier", _C, put("slaProperties/1", value=6)),
    *_pair("Data are there less often", "slaProperties[availability]", _B, "Data are there more often", _C,
           put("slaProperties/2", value=99)),
    *_pair("A service level is removed", "slaProperties[generalAvailability]", _B, "A service level is added", _C,
           drop("slaProperties", 3)),
    Case(about="A service level of text is another", where="slaProperties[generalAvailability]", impact=_B,
         edit=put("slaProperties/3", value="2025-01-01")),
    Case(about="A service level is explained otherwise", where="slaProperties[latency].description", impact=_M,
         edit=put("slaProperties/1", description="From the shop.")),
    *_pair("The stored type is another", f"{_O}.amount.physicalType", _B, "The stored type is the old one",
           _B, put("orders/amount", physicalType="FLOAT")),
    *_pair("Data lie elsewhere", "servers[lake]", _B, "Data lie where they lay", _B,
           put("servers/0", location="s3://other")),
    *_pair("A server is added", "servers[copy]", _C, "A server is removed", _B,
           add("servers", {"server": "copy", "type": "s3"})),
    Case(about="A server is described otherwise", where="servers[lake]", impact=_M,
         edit=put("servers/0", description="Ours.")),
    *_pair("A role may read no longer", "roles[reader]", _B, "A role may read", _C, drop("roles")),
    Case(about="The price is another", where="price", impact=_B, edit=put("price", priceAmount=12)),
    *_pair("The contract is deprecated", "status", _C, "The contract is in force again", _C,
           put("", status="deprecated")),
    Case(about="The contract is retired", where="status", impact=_B, edit=put("", status="retired")),
    *_pair("The contract becomes a draft", "status", _B, "The contract comes into force", _C, put("", status="draft")),
    Case(about="The contract has another id", where="id", impact=_B, edit=put("", id="store")),
    Case(about="The contract has a name", where="name", impact=_M, edit=put("", name="The shop")),
    Case(about="The standard's version is another", where="apiVersion", impact=_M, edit=put("", apiVersion="v3.2.0")),
    Case(about="The owner is another", where="team.members[ann@example.com].name", impact=_M,
         edit=put("team/members/0", name="Anna")),
    Case(about="A tag is added", where="tags", impact=_M, edit=add("tags", "eu")),
    Case(about="A column is described otherwise", where=f"{_O}.amount.description", impact=_M,
         edit=put("orders/amount", description="In euros.")),
    Case(about="A custom property of the producer is another", where=f"{_O}.customProperties[retention].value",
         impact=_M, edit=put("orders/customProperties/1", value="ours")),
    Case(about="Keys stand in another order, a default is written out", where="contract", impact=_M,
         edit=put("orders/code", required=False)),
)  # fmt: skip


def written() -> str:
    """The page that is made of these cases and what the classifier says of them."""
    rows = []
    for case in CASES:
        compared = case.compared()
        [change] = compared.changes
        rows.append([case.about, f"`{change.where}`", change.impact.value, compared.bump.value, change.reason])
    intro = (
        "Two versions of a data contract are compared, and each difference is classed by what it means to who reads "
        "the data. *Breaking*: a promise is weaker, gone or another; the version needs a new major number. "
        "*Compatible*: a promise is stronger or new; a minor one. *Metadata*: words that promise nothing; a patch. "
        "What cannot be compared (two patterns, two queries) is breaking, and so is any other type: readers take "
        "values for what they were. A deprecated column may go from the day that its custom property `removalDate` "
        f"told its readers; the lines below are as of {AS_OF}. Each is a test."
    )
    return page("Changes of a contract", intro, table(["change", "where", "class", "bump", "why"], rows))


if __name__ == "__main__":
    PAGE.write_text(written(), encoding="utf-8")
