"""Takes rows out of a table for good: out of what stands, of its history and of its files.

The table goes on as if they had never been in it: its commits keep their numbers, and what reads
on from one of them does so. The commit is made also where no row goes: a run that began before it
can't commit any more, so what such a run wrote, and what killed ones left, can be deleted, too.
"""

# pyarrow has no types, which the strict mode would report at every touch.
# pyright: standard

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlglot import exp

from profile_pipelines.engine import DuckDBEngine, Written
from profile_pipelines.engine.duckdb import ParquetFiles, Relation
from profile_pipelines.engine.sql import column, named
from profile_pipelines.high_water import Witness
from profile_pipelines.lake import delta
from profile_pipelines.lake.commits import commit
from profile_pipelines.lake.stored import PARTS
from profile_pipelines.lake_place import Place
from profile_pipelines.store_errors import using_lake

_ROWS = "rewritten"


@dataclass(frozen=True)
class Doomed:
    """Which rows go: `condition` gives it for a table's columns, None where none of them can.

    `relations` are what it names; the rows themselves are called `rewritten`. `amended` gives the
    commit's state after so many rows have left. With `instead` the rows stay, with other values in
    the columns that it names.
    """

    condition: Callable[[Sequence[str]], exp.Expr | None]
    relations: Mapping[str, Relation] = field(default_factory=dict[str, Relation])
    amended: Callable[[dict[str, Any], int], dict[str, Any]] = lambda state, rows: state
    instead: Mapping[str, exp.Expr] | None = None


def count_doomed(root: Place, name: str, engine: DuckDBEngine, doomed: Doomed) -> int:
    """How many rows of the table's change log and its snapshot are doomed."""
    total = 0
    for part in PARTS:
        path = root / name / part
        handle = delta.open_table(path)
        if handle is None:
            continue
        columns = delta.columns_of(handle)
        condition = doomed.condition(list(columns))
        files = [file.path for file in delta.files(handle, path)]
        if files and condition is not None:
            rows = {_ROWS: ParquetFiles(files, columns)}
            total += _count(engine, condition, {**doomed.relations, **rows})
    return total


def rewrite(
    root: Place,
    name: str,
    engine: DuckDBEngine,
    doomed: Doomed,
    *,
    before: Callable[[int], None] = lambda rows: None,
    witness: Witness | None = None,
) -> None:
    """Take the doomed rows out of the table. The witness is told of each commit.

    `before` hears how many there are in its change log, which holds all that its snapshot does,
    ahead of the commit. Files that hold none of the rows stay as they are. Raises Conflict when
    another run committed meanwhile.
    """
    for part in PARTS:
        told = before if part == "changes" else lambda rows: None
        _rewrite(root, f"{name}/{part}", engine, doomed, told, witness)


def _rewrite(
    root: Place,
    part: str,
    engine: DuckDBEngine,
    doomed: Doomed,
    before: Callable[[int], None],
    witness: Witness | None,
) -> None:
    path = root / part
    with using_lake(path, "read"):
        lying = [file for file in path.glob("*") if file.is_file()] if path.exists() else []
    handle = delta.open_table(path)
    if handle is None:
        return
    columns = delta.columns_of(handle)
    condition = doomed.condition(list(columns))
    replaced: list[delta.File] = []
    written: list[Written] = []
    gone = 0
    for file in delta.files(handle, path):
        relations = {**doomed.relations, _ROWS: ParquetFiles([file.path], columns)}
        if condition is not None and (found := _count(engine, condition, relations)):
            gone += found
            replaced.append(file)
            select = _rewritten(condition, doomed.instead)
            written.append(engine.write(select, relations, str(delta.new_file(path))))
    before(gone)
    state = delta.read_state(handle)
    seq = state.get("seq", state.get("folded_to", 0))
    commit(
        handle, path, written, doomed.amended(state, gone), seq, instead_of=replaced,
        part=part, witness=witness,
    )  # fmt: skip
    with using_lake(path, "read"):
        handle.update_incremental()
    standing = {file.path for file in delta.files(handle, path)}
    empty = {file.path for file in written if not file.rows}
    for file in [*lying, *(path / each.rsplit("/", 1)[-1] for each in empty)]:
        if str(file) not in standing:
            delta.delete_file(file)


def _rewritten(condition: exp.Expr, instead: Mapping[str, exp.Expr] | None) -> exp.Select:
    """The rows that stay: without the doomed ones, or with other values in those."""
    doomed = exp.func("COALESCE", condition.copy(), exp.false())
    if instead is None:
        return exp.select(exp.Star()).from_(named(_ROWS)).where(exp.not_(doomed))
    emptied = [
        exp.alias_(
            exp.Case().when(doomed.copy(), value.copy()).else_(column(name, _ROWS)),
            name,
            quoted=True,
        )
        for name, value in instead.items()
    ]
    return exp.select(exp.Star(replace=emptied)).from_(named(_ROWS))


def _count(engine: DuckDBEngine, condition: exp.Expr, relations: Mapping[str, Relation]) -> int:
    select = exp.select(exp.alias_(exp.Count(this=exp.Star()), "n")).from_(named(_ROWS))
    return engine.rows(select.where(condition.copy()), relations)[0]["n"]
