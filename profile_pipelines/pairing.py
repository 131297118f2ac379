"""Whether a lake and a ledger go together, and how each is told how far the other is.

Each half tells a least of the other (`ledger/pair.py`, `lake/heads.py`). What is less than that
was put back from a copy, lost, or is another one's: no command reads or writes it until a person
has named the right one, or has accepted both as they are. What is more was left by a process that
was killed, or is being written at this moment (see docs/adr/0026).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any
from uuid import uuid4

from profile_pipelines.catalog.mistakes import in_words
from profile_pipelines.errors import LakeError, PairError
from profile_pipelines.high_water import PROFILES, FileStamp, Head, Mark
from profile_pipelines.lake import heads as lake_heads
from profile_pipelines.lake.heads import Commit, LakeHalf
from profile_pipelines.lake.stored import table_names
from profile_pipelines.lake_place import Place
from profile_pipelines.ledger import Ledger
from profile_pipelines.ledger.pair import LedgerHalf

IDENTITIES = "identities/changes"
_SHOWN = 3
_AT_ONCE = 16
_WAYS = (
    "name the right ones with --lake and --ledger (PROFILE_PIPELINES_LAKE, "
    "PROFILE_PIPELINES_LEDGER); or put back the half that is missing or behind, or both from a "
    "backup with `profile-pipelines restore`; or, where these are to go on as they are, accept "
    "them with `profile-pipelines adopt`: numbers go on above the greater of both then, and what "
    "was decided or sent since waits for `profile-pipelines outbox settle`"
)


@dataclass
class _Compared:
    """What the lake's tables say against what the ledger knows of them."""

    missing: list[str] = field(default_factory=list[str])
    behind: list[str] = field(default_factory=list[str])
    others: list[str] = field(default_factory=list[str])
    """Those with another commit of the same number."""
    beyond: list[str] = field(default_factory=list[str])
    """Those with commits that the ledger can't have been told of when it was as it is."""
    foreign: list[str] = field(default_factory=list[str])
    """Those with commits of another pair."""
    caught_up: dict[str, Head] = field(default_factory=dict[str, Head])
    """What was committed and not noted."""


class Pairing:
    """A lake and its ledger. It is the witness of the lake's commits."""

    def __init__(self, root: Place, ledger: Ledger, shown: str) -> None:
        self._root = root
        self._ledger = ledger
        self._shown = shown
        self._half: LedgerHalf | None = None
        self._anew = False
        self._told: Mark | None = None
        """What the lake said of the ledger when it was last looked at."""
        self._seen: tuple[FileStamp | None, FileStamp | None] = None, None
        self._pending: dict[str, Head] = {}
        self._advancing = Lock()

    def stamp(self) -> dict[str, Any]:
        """What a commit bears: the pair, and how far the ledger is at least."""
        half = self._half
        if half is None:
            return {}
        return {"pair": half.pair, "mark": half.mark.number, "token": half.mark.token}

    @property
    def mark(self) -> tuple[int, str] | None:
        """The mark at which the ledger is at least: its number and token; None before the first."""
        return None if self._half is None else (self._half.mark.number, self._half.mark.token)

    def committed(self, part: str, head: Head) -> None:
        """A commit was made, which `advance` tells the ledger of."""
        self._pending[part] = head

    def check(self) -> None:
        """Raise PairError where lake and ledger don't go together, with what is behind by how
        much and what can be done. Nothing is written."""
        # the lake first: whatever the ledger was told of before is in the ledger by then
        lake = lake_heads.read_half(self._root)
        own = self._ledger.pair.read()
        if own is None:
            self._refuse_fresh_ledger(lake)
            synced = self._ledger.synced()
            if synced and not lake_heads.holds_any(self._root, synced):
                raise self._lost_lake("")
            return
        lake = None if lake is None or lake.mark is None else lake
        if lake is not None and lake.pair != own.pair:
            raise self._error(
                f"the lake {self._root} and the ledger {self._shown} are halves of different pairs"
            )
        compared = self._compared(own)
        if compared.foreign:
            raise self._error(
                f"{_named(compared.foreign)} of the lake {self._root} "
                f"{_is_are(compared.foreign)} of another pair than the ledger {self._shown}"
            )
        self._refuse_older_ledger(lake, own, compared)
        if compared.missing and not table_names(self._root):
            if not self._knows_anything():
                self._anew = True
                return
            raise self._lost_lake(f", and {len(own.heads)} tables{_last(own.heads.values())}")
        self._refuse_older_lake(own, compared)
        self._half = own
        self._told = None if lake is None else lake.mark
        self._pending.update(compared.caught_up)

    def confirm(self) -> None:
        """Raise PairError where a half was put back, taken away or taken over since this process
        looked at both, and LakeError where nothing of that shows, but the lake can't be read. It
        looks at the marks alone, which each step may do; only where the two weren't a pair yet all
        is compared."""
        half = self._half
        if half is None:
            self.check()
            return
        seen = lake_heads.half_stamp(self._root), self._ledger.stamp()
        if seen == self._seen and None not in seen:
            return  # neither was written to since
        unreadable: LakeError | None = None
        mark = self._told
        try:
            mark = self._mark_of_lake(half)
        except PairError:
            raise
        except LakeError as error:
            unreadable = error
        if not self._ledger.is_in_place() or not self._ledger.pair.is_still(half, mark):
            raise self._error(f"the ledger {self._shown} was put back, or taken over, meanwhile")
        if unreadable is not None:
            raise unreadable
        self._told = mark
        self._seen = seen

    def _mark_of_lake(self, half: LedgerHalf) -> Mark | None:
        """What the lake says of the ledger by now. Raises PairError where it said more before."""
        lake = lake_heads.read_half(self._root)
        mark, told = None if lake is None else lake.mark, self._told
        if told is not None and (
            lake is None
            or lake.pair != half.pair
            or mark is None
            or mark.number < told.number
            or (mark.number == told.number and mark.token != told.token)
        ):
            raise self._error(f"the lake {self._root} was put back, or taken away, meanwhile")
        return mark

    def begin(self, *, now: datetime) -> None:
        """Where the two are no pair yet, make them one; else nothing is done."""
        if self._half is not None:
            return
        lake = lake_heads.read_half(self._root)
        id_ = uuid4().hex if lake is None else lake.pair
        if lake is None and not self._anew:
            lake_heads.write_half(self._root, LakeHalf(id_, 1, None))
        found = lake_heads.heads(self._root)
        self._half = self._ledger.pair.begin(
            id_,
            found,
            now=now,
            sequences=self._ledger.enrolments.next_numbers(),
            known_to={PROFILES: _next_profile(found)},
            because="there was nothing yet" if self._anew else "",
            kept_back=False,
        )
        self._pending = {}
        self._write_half(force=self._anew)

    def accept(
        self, *, now: datetime, because: str, lake: LakeHalf | None, next_profile: int
    ) -> None:
        """Take both halves for one pair as they are from now on, in a new generation.

        `lake` is what its file said before, `next_profile` the least number that neither half
        knows a profile by. The tables' numbers are above those that the ledger knows already;
        those of the ledger go on above what the lake knows.
        """
        own = self._ledger.pair.read()
        found = lake_heads.heads(self._root)
        bears = own or lake
        id_ = uuid4().hex if bears is None else bears.pair
        sequences = {} if lake is None else dict(lake.sequences)
        self._half = self._ledger.pair.begin(
            id_,
            found,
            now=now,
            because=because,
            sequences={**sequences, PROFILES: _next_profile(found)},
            known_to={PROFILES: next_profile},
        )
        self._pending = {}
        self._write_half(force=True)

    def advance(self, *, now: datetime, always: bool = False) -> None:
        """Tell each half how far the other is: the ledger of the commits since, the lake of the
        ledger's new mark. Without `always` only where something was committed.

        Raises PairError where the ledger was put back or taken over meanwhile.
        """
        with self._advancing:
            self._advance(now=now, always=always)

    def _advance(self, *, now: datetime, always: bool) -> None:
        if self._half is None or not (always or self._pending):
            return
        told = dict(self._pending)
        half = self._ledger.pair.advance(self._half, told, now=now)
        if half is None:
            raise self._error(
                f"the ledger {self._shown} was put back, or taken over, while this command ran"
            )
        self._half = half
        for part, head in told.items():
            if self._pending.get(part) == head:
                del self._pending[part]
        self._write_half()

    def _write_half(self, *, force: bool = False) -> None:
        half = self._half
        assert half is not None
        there = None if force else lake_heads.read_half(self._root)
        mark = there.mark if there is not None and there.pair == half.pair else None
        if mark is not None and mark.number >= half.mark.number:
            self._told = mark
            return  # another process was faster
        sequences = self._ledger.pair.sequences()
        said = LakeHalf(half.pair, half.generation, half.mark, sequences)
        lake_heads.write_half(self._root, said)
        self._told = half.mark

    def _knows_anything(self) -> bool:
        return bool(self._ledger.synced() or self._ledger.enrolments.next_numbers())

    def _refuse_fresh_ledger(self, lake: LakeHalf | None) -> None:
        told = lake is not None and lake.mark is not None
        if not told and self._ledger.catalogue_mark() is not None:
            return  # of before there were pairs
        if not told and self._ledger.synced():
            return
        tables = table_names(self._root)
        if not tables:
            return
        mark = lake.mark if lake is not None else None
        since = "" if mark is None else f"; the lake knows one that was written {_time(mark.at)}"
        raise self._error(
            f"the lake {self._root} has {len(tables)} tables, but the ledger {self._shown} is "
            f"empty, or of before the two were a pair{since}: a run would take everybody for new, "
            "and write to all of them again"
        )

    def _refuse_older_ledger(
        self, lake: LakeHalf | None, own: LedgerHalf, compared: _Compared
    ) -> None:
        mark = None if lake is None else lake.mark
        unknown = mark is not None and not self._ledger.pair.knows(mark.number, mark.token)
        if not unknown and not compared.beyond:
            return
        by = ""
        if mark is not None and mark.number > own.mark.number:
            by = (
                f" by {_many(mark.number - own.mark.number, 'mark')} (it ends {_time(own.mark.at)},"
                f" and the lake knows it as it was {_time(mark.at)})"
            )
        tables = ""
        if compared.beyond:
            has = "has" if len(compared.beyond) == 1 else "have"
            tables = f"; {_named(compared.beyond)} {has} commits that it doesn't know"
        raise self._error(
            f"the ledger {self._shown} is older than the lake {self._root} knows it, or has gone "
            f"another way since{by}{tables}"
        )

    def _refuse_older_lake(self, own: LedgerHalf, compared: _Compared) -> None:
        said: list[str] = []
        if compared.missing:
            said.append(f"{_named(compared.missing)} {_is_are(compared.missing)} missing")
        if compared.behind:
            said.append(_listed(compared.behind))
        if compared.others:
            said.append(
                f"{_named(compared.others)} {_is_are(compared.others)} another table than the one "
                "that the ledger knows, with commits of the same numbers"
            )
        if not said:
            return
        older = "is older than" if compared.missing or compared.behind else "isn't the one that"
        raise self._error(
            f"the lake {self._root} {older} the ledger {self._shown} knows"
            f"{_last(own.heads.values())}: {'; '.join(said)}"
        )

    def _compared(self, own: LedgerHalf) -> _Compared:
        compared = _Compared()

        def look(part: str) -> tuple[str, Commit | None, list[Commit]]:
            version = own.heads[part].version
            at = lake_heads.commit_at(self._root, part, version)
            return part, at, list(lake_heads.commits_after(self._root, part, version))

        parts = sorted(own.heads)
        if isinstance(self._root, Path) or len(parts) < 2:
            found: Iterable[tuple[str, Commit | None, list[Commit]]] = map(look, parts)
        else:
            with ThreadPoolExecutor(min(_AT_ONCE, len(parts))) as pool:
                found = list(pool.map(look, parts))
        for part, at, later in found:
            self._judge(part, own.heads[part], at, later, own, compared)
        return compared

    def _judge(
        self,
        part: str,
        known: Head,
        at: Commit | None,
        later: list[Commit],
        own: LedgerHalf,
        compared: _Compared,
    ) -> None:
        name = part.rpartition("/")[0] if part.endswith("/changes") else part
        if at is None:
            last = lake_heads.last_commit(self._root, part)
            if last is None:
                compared.missing.append(name)
            elif last.head.version < known.version:
                commits = _many(known.version - last.head.version, "commit")
                compared.behind.append(f"{name} is {commits} behind{_between(last.head, known)}")
            if last is None or last.head.version <= known.version:
                return
            later = [last]  # its log was cleaned, and it has gone on since
        elif known.commit and at.head.commit != known.commit:
            compared.others.append(name)
            return
        for commit in later:
            if commit.ours is None or "pair" not in commit.ours:
                continue
            if commit.ours["pair"] != own.pair:
                compared.foreign.append(name)
                return
            if not self._ledger.pair.knows(commit.ours["mark"], commit.ours["token"]):
                compared.beyond.append(name)
                return
        if later:
            # what another tool committed tells no numbers
            told = [each.head.counters for each in later if each.head.counters]
            counters = told[-1] if told else known.counters
            compared.caught_up[part] = replace(later[-1].head, counters=counters)

    def _lost_lake(self, more: str) -> PairError:
        """To go on would take all customers for gone: their journeys would end, and destinations
        would be emptied."""
        return self._error(
            f"the lake {self._root} has no records, but the ledger knows syncs that wrote some"
            f"{more}: it is lost, or not the lake that goes with {self._shown}"
        )

    def _error(self, what: str) -> PairError:
        return PairError(f"{what}. Nothing was read or written: {_WAYS}")


def refuse_lost_ledger(root: Place, shown: str, place: Callable[[], bool]) -> None:
    """Raise PairError where a lake has tables, and its ledger isn't there (`place` tells)."""
    if place():
        return
    tables = table_names(root)
    if tables:
        raise PairError(
            f"there is no ledger at {shown}, but the lake {root} has {len(tables)} tables: a run "
            "would take everybody for new, and write to all of them again. Nothing was read or "
            f"written: {_WAYS}"
        )


def _next_profile(found: Mapping[str, Head]) -> int:
    head = found.get(IDENTITIES)
    return 1 if head is None else head.counters.get("next_profile_id", 1)


def _last(found: Iterable[Head]) -> str:
    times = [head.at for head in found if head.at is not None]
    return f" (as it was {_time(max(times))})" if times else ""


def _between(there: Head, known: Head) -> str:
    if there.at is None or known.at is None:
        return ""
    return f" (at that of {_spelt(there.at)}, where the ledger knows that of {_spelt(known.at)})"


def _time(moment: datetime) -> str:
    return f"at {_spelt(moment)}"


def _spelt(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _is_are(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _named(names: list[str]) -> str:
    return in_words(names) if len(names) <= _SHOWN else _listed(names, ", ")


def _listed(names: list[str], by: str = "; ") -> str:
    more = len(names) - _SHOWN
    return by.join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
