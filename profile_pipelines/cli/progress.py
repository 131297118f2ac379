"""Shows how far a run is: a bar on a terminal, plain lines elsewhere, always on stderr."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

from profile_pipelines.cli.output import spell_count, spell_duration, spell_many, stderr, styled
from profile_pipelines.progress import HowFar

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

_Part = TypeVar("_Part")
_EVERY = 0.1
_QUIET_FOR = 5.0


def spell_progress(so_far: HowFar, seconds: float) -> str:
    """`40,000 rows, 400 pages, 8,000 rows/s, about 5s left`: what is known of it."""
    parts = [spell_many(so_far.rows, "row")]
    if so_far.pages:
        parts.append(spell_many(so_far.pages, "page"))
    if seconds >= 1 and so_far.rows:
        speed = so_far.rows / seconds
        parts.append(f"{spell_count(round(speed))} rows/s")
        if so_far.expected is not None and so_far.expected > so_far.rows:
            left = timedelta(seconds=(so_far.expected - so_far.rows) / speed)
            parts.append(f"about {spell_duration(left)} left")
    return ", ".join(parts)


class _Lines:
    """A line when a step ends, and now and then one while it reads."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began: dict[str, float] = {}
        self._told: dict[str, float] = {}

    def step_started(self, name: str) -> None:
        self._began[name] = self._told[name] = monotonic()

    def read(self, name: str, so_far: HowFar) -> None:
        if monotonic() - self._told[name] >= _QUIET_FOR:
            self._told[name] = monotonic()
            told = spell_progress(so_far, self._told[name] - self._began[name])
            self._console.print(f"{name}: {told}", soft_wrap=True)

    def waiting(self, name: str, detail: str) -> None:
        self._console.print(f"{name}: {detail}", soft_wrap=True)

    def step_finished(self, name: str, detail: str) -> None:
        took = monotonic() - self._began.pop(name)
        self._console.print(f"{name}: {detail} ({took:.1f} s)", soft_wrap=True)


class _Bar:
    """A bar over all steps, with the names of those under way and the rows that they have read."""

    def __init__(self, bar: Progress, task: TaskID) -> None:
        self._bar, self._task = bar, task
        self._told = monotonic()
        self._began: dict[str, float] = {}
        self._under_way: dict[str, str] = {}

    def step_started(self, name: str) -> None:
        self._began[name] = monotonic()
        self._under_way[name] = name
        self._show()

    def read(self, name: str, so_far: HowFar) -> None:
        now = monotonic()
        told = spell_progress(so_far, now - self._began[name])
        self._under_way[name] = f"{name}: {told}"
        if now - self._told >= _EVERY:
            self._told = now
            self._show()

    def waiting(self, name: str, detail: str) -> None:
        self._bar.console.print(styled(name, "cyan"), detail)

    def step_finished(self, name: str, detail: str) -> None:
        took = styled(f"{monotonic() - self._began.pop(name):6.1f} s ", "dim")
        self._bar.console.print(took, styled(name, "cyan"), detail)
        del self._under_way[name]
        self._bar.update(self._task, advance=1)
        self._show()

    def _show(self) -> None:
        self._bar.update(self._task, step=" · ".join(self._under_way.values()))


@contextmanager
def watching(steps: int) -> Iterator[_Lines | _Bar]:
    """A watcher for a run of so many steps."""
    console = stderr()
    if not console.is_terminal:
        yield _Lines(console)
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.table import Column

    columns = (
        BarColumn(bar_width=24),
        TextColumn("{task.completed}/{task.total}", style="dim"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[step]}", markup=False, table_column=Column(no_wrap=True)),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        yield _Bar(bar, bar.add_task("", total=steps, step=""))


def counted(parts: Iterable[_Part], total: int, what: str) -> Iterator[_Part]:
    """The parts as they come, with a bar on stderr of how many there were."""
    console = stderr()
    if not console.is_terminal:
        yield from parts
        return
    from rich.progress import track

    yield from track(parts, what, total=total, console=console, transient=True)


@contextmanager
def making(what: str) -> Iterator[Making]:
    """A watcher for making the demo's systems."""
    console = stderr()
    if not console.is_terminal:
        console.print(what, soft_wrap=True)
        yield Making(None)
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        yield Making(bar)


class Making:
    """Called with what is being made, how many parts are done, and of how many."""

    def __init__(self, bar: Progress | None) -> None:
        self._bar = bar
        self._task = None if bar is None else bar.add_task("sample systems", total=None)

    def __call__(self, what: str, done: int, total: int) -> None:
        if self._bar is not None and self._task is not None:
            described = f"sample systems: {what}"
            self._bar.update(self._task, completed=done, total=total, description=described)
