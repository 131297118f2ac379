"""How things are spelled and printed: tables for people, JSON for programs."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from profile_pipelines.catalog.spelling import json_text, people_text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

_UNLIMITED = 100_000
"""Signs a line where no screen ends it."""
NOTHING = "–"


def stdout() -> Console:
    """Where results go. A pipe or a file gets lines as wide as they are, without colours."""
    return _console(error=False)


def stderr() -> Console:
    """Where progress and remarks go."""
    return _console(error=True)


def _console(*, error: bool) -> Console:
    from profile_pipelines.cli.screen import UncutConsole

    console = UncutConsole(stderr=error, highlight=False, markup=False, emoji=False)
    columns = os.environ.get("COLUMNS", "")
    if not columns.isdecimal() or int(columns) == 0:  # Rich would take 0 at its word
        if not console.is_terminal:
            console.width = _UNLIMITED
        elif columns:
            console.width = shutil.get_terminal_size().columns
    return console


def note(text: str) -> None:
    """A remark on stderr, which no program reads."""
    from rich.text import Text

    stderr().print(Text(text, style="dim"), soft_wrap=True)


def print_json(value: object) -> None:
    """One JSON document on stdout."""
    # by lines: unbuffered, Python takes half a large text for written when a pipe takes no more
    sys.stdout.writelines(f"{json_text(value, indent=2)}\n".splitlines(keepends=True))


def table(*columns: str, title: str | None = None) -> Table:
    """An open table. A heading that begins with `#` is one of numbers; the cells of one that
    begins with `~` are the first to go over several lines where the screen is narrow."""
    from profile_pipelines.cli.screen import FittedTable

    made = FittedTable(
        box=None, pad_edge=False, header_style="dim", title=title, title_justify="left"
    )
    made.title_style = "bold"
    for column in columns:
        right = column.startswith("#")
        made.add_column(column.lstrip("#~"), justify="right" if right else "left", overflow="fold")
    made.giving_way = [index for index, each in enumerate(columns) if each.startswith("~")]
    return made


def styled(text: str, style: str) -> Text:
    """Text with a style."""
    from rich.text import Text

    return Text(text, style=style)


def spell(value: Any, timezone: str = "UTC") -> str:
    """A value as people read it; control characters, which could steer a terminal, are shown."""
    match value:
        case None:
            return NOTHING
        case list() | tuple() if not value:
            return "(none)"
        case _:
            return "".join(
                sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}"
                for sign in people_text(value, ZoneInfo(timezone))
            )


def spell_time(moment: datetime | None, timezone: str) -> str:
    """A moment to the minute, in the catalogue's time zone."""
    return NOTHING if moment is None else people_text(moment, ZoneInfo(timezone))


def spell_duration(duration: timedelta | None) -> str:
    """`45s`, `12m`, `5h`, `3d`: the largest unit of which there are at least two, or else one."""
    if duration is None:
        return "never"
    seconds = max(0, int(duration.total_seconds()))
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size or seconds == size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def spell_ago(age: timedelta | None) -> str:
    """How long ago: `just now`, `5m ago`, `never`."""
    if age is None:
        return "never"
    return f"{spell_duration(age)} ago" if age >= timedelta(seconds=2) else "just now"


def spell_share(share: float | None) -> str:
    """A share in per cent; what isn't quite all, or quite nothing, never looks like it."""
    if share is None:
        return NOTHING
    percent = round(share * 100)
    if (percent == 100 and share < 1) or (percent == 0 and share > 0):
        return f"{min(99.9, max(0.1, share * 100)):.1f}%"
    return f"{percent}%"


def spell_count(count: int) -> str:
    """A number with its thousands set apart."""
    return f"{count:,}"


def spell_bytes(count: float) -> str:
    """`12 bytes`, `3.4 MB`: in the largest unit of which there is one."""
    if count < 1000:
        return f"{count:.0f} {'byte' if count == 1 else 'bytes'}"
    for unit in ("kB", "MB", "GB"):
        count /= 1000
        if count < 999.95:
            return f"{count:.1f} {unit}"
    return f"{count / 1000:.1f} TB"


def spell_many(count: int, one: str, many: str | None = None) -> str:
    """`1 profile`, `2,000 profiles`; `many` where it isn't `one` with an s."""
    return f"{spell_count(count)} {one if count == 1 else many or f'{one}s'}"


def short_run(run_id: str) -> str:
    """The end of a run's id, which is what tells runs apart."""
    return run_id[-8:]


def joined(names: Iterable[str]) -> str:
    """`a, b, c`, or a dash."""
    return ", ".join(names) or NOTHING
