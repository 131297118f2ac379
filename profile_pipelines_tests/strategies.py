"""Hypothesis strategies of the core's tests: changes of tables, records, updates of systems."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from hypothesis import strategies as st

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class Commit(NamedTuple):
    """One commit of a lake table: by key its new value, or None where the row is removed."""

    rows: dict[int, str | None]


class Compaction(NamedTuple):
    """A compaction of a lake table."""


class Merging(NamedTuple):
    """The files of a lake table's history are put together."""


class Identified(NamedTuple):
    """A record's identifiers, strongest first."""

    strong: str | None
    weak: str | None
    other: str | None


class Update(NamedTuple):
    """A version of a system's record: values as the source spells them, by column."""

    system: str
    key: str
    minute: int
    values: dict[str, str | None]

    @property
    def changed(self) -> datetime:
        """When the source made this version."""
        return EPOCH + timedelta(minutes=self.minute)


_commits = st.builds(
    Commit,
    st.dictionaries(
        st.integers(1, 5), st.none() | st.sampled_from(["a", "b", "c"]), min_size=1, max_size=4
    ),
)


def table_operations() -> st.SearchStrategy[list[Commit | Compaction | Merging]]:
    """Commits of a table, with upkeep among them; the first commit removes nothing."""
    first = st.builds(
        Commit, st.dictionaries(st.integers(1, 5), st.sampled_from(["a", "b"]), min_size=1)
    )
    upkeep = st.sampled_from([Compaction(), Merging()])
    later = st.lists(_commits | _commits | upkeep, max_size=7)
    return st.builds(lambda one, more: [one, *more], first, later)


_few = st.none() | st.integers(1, 6)
_identified = st.builds(
    Identified,
    _few.map(lambda n: n and f"s{n}"),
    _few.map(lambda n: n and f"w{n}"),
    _few.map(lambda n: n and f"o{n}"),
).filter(any)


def identified_records() -> st.SearchStrategy[list[Identified]]:
    """Records that share some identifiers; each has at least one."""
    return st.lists(_identified, max_size=14)


def identity_steps() -> st.SearchStrategy[list[dict[int, Identified | None]]]:
    """Steps in each of which some records (by number) appear, change or go (None)."""
    step = st.dictionaries(st.integers(1, 8), st.none() | _identified, min_size=1, max_size=6)
    return st.lists(step, min_size=1, max_size=4)


_texts: dict[str, st.SearchStrategy[str]] = {
    "no": st.sampled_from(["1", "C-001", " c-1 ", "2", "C-0002", "3", "N/A"]),
    "email": st.sampled_from(["a@x.de", "A@X.de ", "b@x.de", "c@x.de", "null@null.com", "none"]),
    "status": st.sampled_from(["active", "churned", "prospect"]),
    "tier": st.sampled_from(["gold", "silver", "İron"]),
    "opt_in": st.sampled_from(["yes", "no", "TRUE", "0"]),
    "points": st.sampled_from(["1", "-7", "9007199254740993"]),
    "since": st.sampled_from(["2020-02-29", "2021-01-01", "1999-12-31"]),
    "ends": st.sampled_from(["2026-12-31", "2027-06-30"]),
    "balance": st.sampled_from(["0.0001", "-3.5", "99999999999999.9999"]),
    "tags": st.sampled_from(["a,b", '["b"]', "c"]),
    "seen": st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-01 00:30:00+01:00"]),
    "gone": st.just("yes"),
}


@st.composite
def updates(draw: st.DrawFn, systems: tuple[str, ...] = ("crm", "billing", "shop")) -> list[Update]:
    """Versions of a few records of each system, in an order of their own; times are distinct."""
    size = draw(st.integers(1, 14))
    minutes = draw(st.lists(st.integers(0, 10_000), min_size=size, max_size=size, unique=True))
    found: list[Update] = []
    for minute in minutes:
        values = {
            name: draw(st.none() | texts if name != "gone" else st.none() | st.none() | texts)
            for name, texts in _texts.items()
        }
        key = draw(st.sampled_from(["k1", "k2", "k3"]))
        found.append(Update(draw(st.sampled_from(systems)), key, minute, values))
    return found


def splits(size: int) -> st.SearchStrategy[list[int]]:
    """Where a sequence of this size is cut into one to four parts."""
    return st.lists(st.integers(0, size), max_size=3).map(sorted)
