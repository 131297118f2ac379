"""The lake pinned as it is, table by table, in an order in which nothing is missing.

What follows from a table is pinned before that table: so whatever a pinned table was derived of
is pinned, too. The ledger was looked at before all of them, so that the lake is never behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from deltalake import DeltaTable

from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.catalog.plan import audience_order
from profile_pipelines.errors import LakeError
from profile_pipelines.high_water import Head
from profile_pipelines.lake import delta
from profile_pipelines.lake.commits import counters_of
from profile_pipelines.lake.heads import commit_at, commits_after
from profile_pipelines.lake.stored import PARTS, table_names
from profile_pipelines.lake_place import Place
from profile_pipelines.ledger.pair import LedgerHalf
from profile_pipelines.store_errors import using_lake

Knows = Callable[[int, str], bool]
"""Whether the ledger was at a mark, by its number and token."""
_LOG = "_delta_log"
_FOLLOWING = ("audiences/", "journeys/", "profiles", "unsubscribes", "identities", "sources/")
"""What is derived first, from left to right."""


@dataclass(frozen=True)
class DataFile:
    """A Parquet file of a table by its path in the lake, and how many rows it has."""

    path: str
    size: int
    rows: int


@dataclass(frozen=True)
class PinnedPart:
    """A Delta table of the lake at one version: its last commit, its files and those of its log."""

    part: str
    head: Head
    data: list[DataFile]
    log: list[str]


def pin_lake(root: Place, catalogue: Catalogue) -> list[PinnedPart]:
    """Every Delta table of the lake. Raises LakeError where one can't be read, FileNotFoundError
    where a file of its log went meanwhile."""
    pinned = (_pin(root, f"{name}/{part}") for name in _order(root, catalogue) for part in PARTS)
    return [each for each in pinned if each is not None]


def fits(root: Place, pinned: Iterable[PinnedPart], half: LedgerHalf, knows: Knows) -> bool:
    """Whether the lake as it is pinned goes with the ledger as it was then: it has all that the
    ledger knows, and nothing that was written by somebody who knew a later ledger."""
    by_part = {each.part: each for each in pinned}
    for part, known in half.heads.items():
        if part not in by_part or by_part[part].head.version < known.version:
            raise LakeError(f"{part} of the lake {root} is older than the ledger knows it")
    for part, each in by_part.items():
        known = half.heads.get(part)
        for commit in commits_after(root, part, -1 if known is None else known.version):
            if commit.head.version > each.head.version:
                break
            ours = commit.ours or {}
            if "mark" in ours and not knows(ours["mark"], ours["token"]):
                return False
    return True


def _order(root: Place, catalogue: Catalogue) -> list[str]:
    in_turn = {
        f"audiences/{name}": n
        for n, name in enumerate(reversed(audience_order(catalogue.audiences)))
    }

    def rank(name: str) -> tuple[int, int, str]:
        found = (n for n, start in enumerate(_FOLLOWING) if name.startswith(start))
        return next(found, len(_FOLLOWING)), in_turn.get(name, -1), name

    return sorted(table_names(root), key=rank)


def _pin(root: Place, part: str) -> PinnedPart | None:
    table = delta.open_table(root / part)
    if table is None:
        return None
    version = table.version()
    state, commit = delta.read_state(table), commit_at(root, part, version)
    id_ = "" if commit is None else commit.head.commit
    head = Head(version, id_, counters_of(state), delta.time_of(state))
    return PinnedPart(part, head, _data(table, part), _log(root, part, version))


def _data(table: DeltaTable, part: str) -> list[DataFile]:
    with using_lake(table.table_uri, "read"):
        actions = table.get_add_actions(flatten=True)
    names = actions.column_names
    columns = (
        actions.column(names.index(name)).to_pylist()
        for name in ("path", "size_bytes", "num_records")
    )
    if not len(actions):
        return []
    return [DataFile(f"{part}/{p}", size, rows) for p, size, rows in zip(*columns, strict=True)]


def _log(root: Place, part: str, version: int) -> list[str]:
    """The files of the log up to a version, by their paths in the lake."""
    folder = root / part / _LOG
    with using_lake(folder, "read"):
        names = [each.name for each in folder.iterdir()]
    return [
        f"{part}/{_LOG}/{name}"
        for name in sorted(names)
        if name[:20].isdigit() and name[20:21] == "." and int(name[:20]) <= version
        and name.endswith((".json", ".parquet"))
    ]  # fmt: skip
