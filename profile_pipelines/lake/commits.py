"""Commits that somebody is told of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from deltalake import DeltaTable

from profile_pipelines.engine import Written
from profile_pipelines.high_water import Head, Witness
from profile_pipelines.lake import delta
from profile_pipelines.lake_place import Place

_COUNTERS = ("seq", "next_profile_id")


def commit(
    table: DeltaTable,
    path: Place,
    files: list[Written],
    state: dict[str, Any],
    seq: int,
    mode: str = "append",
    *,
    part: str,
    witness: Witness | None,
    instead_of: Sequence[delta.File] = (),
) -> None:
    """Commit as `delta.commit` does, and tell the witness; `part` is the path below the root."""
    version, id_ = table.version() + 1, uuid4().hex
    stamp = {"id": id_, **(witness.stamp() if witness is not None else {})}
    delta.commit(table, path, files, state, seq, mode, instead_of=instead_of, stamp=stamp)
    if witness is not None:
        witness.committed(part, Head(version, id_, counters_of(state), delta.time_of(state)))


def counters_of(state: Mapping[str, Any]) -> dict[str, int]:
    """The numbers that a table gave out, of the state of its last commit."""
    return {name: state[name] for name in _COUNTERS if isinstance(state.get(name), int)}
