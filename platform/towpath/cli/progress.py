"""Progress for people: a live display on a terminal, a line a step elsewhere. Always on stderr."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from towpath.cli import output

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

_WIDTH = 10  # of the longest stage's name


class StageProgress:
    """The port `Progress`. Use it in a `with`, so that the display is closed when a stage raises.

    `seconds` and `reused` say afterwards how long each stage took and which entries were found in the ledger.
    """

    def __init__(self, console: Console) -> None:
        self.seconds: dict[str, float] = {}
        self.reused: set[str] = set()
        self._console = console
        self._bars: Bars | None = None
        self._task: TaskID | None = None
        self._stage = ""
        self._begun = 0.0

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bars = _bars(self._console)
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            if self._task is not None:
                self._bars.update(self._task, outcome="stopped", completed=1)
            self._bars.stop()

    def told(self, what: str) -> None:
        """A heading over the stages that follow."""
        self._console.print(what, style="bold", soft_wrap=True)

    def begin(self, stage: str) -> None:
        self._stage, self._begun = stage, time.monotonic()
        self.reused.discard(stage)
        if self._bars is not None:
            self._task = self._bars.add_task(stage, total=1, doing="", outcome="")

    def step(self, what: str) -> None:
        if self._bars is None:
            self._line(what)
        elif self._task is not None:
            self._bars.update(self._task, doing=what)

    def found(self) -> None:
        self.reused.add(self._stage)

    def end(self, stage: str, outcome: str) -> None:
        self.seconds[stage] = time.monotonic() - self._begun
        doing = "already in the ledger" if stage in self.reused else ""
        if self._bars is None:
            self._line(f"{outcome} in {self.seconds[stage]:.1f} s{f', {doing}' if doing else ''}")
        elif self._task is not None:
            self._bars.update(self._task, doing=doing, outcome=outcome, completed=1)
            self._task = None

    def _line(self, what: str) -> None:
        self._console.print(f"{self._stage:<{_WIDTH}}  {what}", soft_wrap=True)


def _bars(console: Console) -> Bars:
    from rich.progress import Progress, ProgressColumn, SpinnerColumn, Task, TextColumn, TimeElapsedColumn
    from rich.table import Column
    from rich.text import Text

    class Ended(ProgressColumn):
        """How a stage ended, once it has."""

        def render(self, task: Task) -> Text:
            word = str(task.fields.get("outcome") or "")
            return Text.assemble(output.badge(word))  # type: ignore[arg-type]

    return Progress(
        SpinnerColumn(finished_text=" "),
        TextColumn(f"{{task.description:<{_WIDTH}}}", style="bold", markup=False),
        TimeElapsedColumn(),
        Ended(),
        TextColumn(
            "{task.fields[doing]}", style="dim", markup=False, table_column=Column(overflow="ellipsis", no_wrap=True)
        ),
        console=console,
    )
