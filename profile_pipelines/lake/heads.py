"""What a lake tells of the pair that it is half of: its file of the pair, and its last commits.

A commit is told from any other by an id of its own; one that bears none, of an older version or
of another tool, by its digest.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from profile_pipelines.errors import LakeError, PairError
from profile_pipelines.high_water import FileStamp, Head, Mark, file_stamp
from profile_pipelines.lake import delta
from profile_pipelines.lake.commits import counters_of
from profile_pipelines.lake.stored import PARTS, table_names
from profile_pipelines.lake_place import Place
from profile_pipelines.store_errors import errno_of, lake_error

_FILE = "pair.json"
_RESTORING = "restoring"


@dataclass(frozen=True)
class LakeHalf:
    """What the lake's file says: which pair it is half of, and how far the ledger was.

    `mark` is None where the other half hadn't yet been written when it was. `sequences` are the
    next numbers that the ledger gives, by name.
    """

    pair: str
    generation: int
    mark: Mark | None
    sequences: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True)
class Commit:
    """A commit of a Delta table. `ours` is what our own bear of their pair; None for others."""

    head: Head
    ours: Mapping[str, Any] | None


def read_half(root: Place) -> LakeHalf | None:
    """What the lake's file says; None without one.

    Raises LakeError for a file that is there and can't be read.
    """
    try:
        stored = json.loads((root / _FILE).read_text(encoding="utf-8"))
        if _RESTORING in stored:
            raise PairError(
                f"the lake {root} is being restored, or that was broken off: nothing was read or "
                f"written; end it with `profile-pipelines restore`, from the backup "
                f"{stored[_RESTORING]}, as it was begun"
            )
        mark = stored["mark"]
        return LakeHalf(
            stored["pair"],
            stored["generation"],
            mark and Mark(mark["number"], mark["token"], datetime.fromisoformat(mark["at"])),
            stored["sequences"],
        )
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PairError:
        raise
    except (KeyError, TypeError, ValueError):
        raise LakeError(
            f"{root / _FILE} isn't what was written there; restore it, or take it away: the lake's "
            "tables tell then whether they go with the ledger"
        ) from None
    except Exception as error:  # of whichever library reaches the store
        said = getattr(error, "strerror", None) or type(error).__name__
        raise LakeError(f"the lake can't be read at {root}: {said}") from None


def restoring(root: Place) -> tuple[str, str] | None:
    """The backup from which a lake is being restored, or was until that was broken off, and the
    token of its ledger's mark; None where it isn't."""
    try:
        stored = json.loads((root / _FILE).read_text(encoding="utf-8"))
        return stored[_RESTORING], stored["mark"]["token"]
    except Exception:  # of whichever library reaches the store; whoever reads it next tells
        return None


def half_stamp(root: Place) -> FileStamp | None:
    """What changes whenever the lake's file is written; None without one, or in a store."""
    return file_stamp(root / _FILE) if isinstance(root, Path) else None


def write_half(root: Place, half: LakeHalf, *, restoring: str | None = None) -> None:
    """Write the lake's file, whole or not at all; with the backup from which it is being restored,
    nobody reads or writes the lake until it is written without.

    Raises LakeError when it can't be written.
    """
    mark = half.mark and {
        "number": half.mark.number,
        "token": half.mark.token,
        "at": half.mark.at.isoformat(),
    }
    said = {
        "pair": half.pair,
        "generation": half.generation,
        "mark": mark,
        "sequences": dict(half.sequences),
        **({} if restoring is None else {_RESTORING: restoring}),
    }
    content = json.dumps(said, indent=1).encode()
    try:
        if not isinstance(root, Path):
            (root / _FILE).write_bytes(content)
            return
        root.mkdir(parents=True, exist_ok=True)
        # several processes may write it at once
        unfinished = root / f".{_FILE}.{uuid4().hex}.unfinished"
        try:
            with unfinished.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(root / _FILE)
        finally:
            unfinished.unlink(missing_ok=True)
    except Exception as error:
        said = getattr(error, "strerror", None) or type(error).__name__
        raise lake_error(root, "written", said, errno_of(error)) from None


def commit_at(root: Place, part: str, version: int) -> Commit | None:
    """The commit of this version of the Delta table at `part`; None where its log has none."""
    try:
        content = _log(root, part, version).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except Exception as error:  # of whichever library reaches the store
        said = getattr(error, "strerror", None) or type(error).__name__
        raise LakeError(f"the lake can't be read at {root / part}: {said}") from None
    for line in content.splitlines():
        if line.startswith(b'{"commitInfo"'):
            info = json.loads(line)["commitInfo"]
            break
    else:
        info = {}
    ours = json.loads(info[delta.COMMIT_KEY]) if delta.COMMIT_KEY in info else None
    state = json.loads(info[delta.STATE_KEY]) if delta.STATE_KEY in info else {}
    id_ = ours["id"] if ours else hashlib.sha256(content).hexdigest()
    return Commit(Head(version, id_, counters_of(state), delta.time_of(state)), ours)


def commits_after(root: Place, part: str, version: int) -> Iterator[Commit]:
    """The commits after this version, the first one first."""
    while (found := commit_at(root, part, version + 1)) is not None:
        yield found
        version += 1


def last_commit(root: Place, part: str) -> Commit | None:
    """The last commit of the Delta table at `part` that its log still has; None without a table."""
    table = delta.open_table(root / part)
    if table is None:
        return None
    found = commit_at(root, part, table.version())
    if found is None:
        return Commit(Head(table.version(), ""), None)
    state = delta.read_state(table)
    head = Head(found.head.version, found.head.commit, counters_of(state), delta.time_of(state))
    return Commit(head, found.ours)


def holds_any(root: Place, syncs: Iterable[tuple[str, str]]) -> bool:
    """Whether a lake has records of any of these (system, sync).

    Raises LakeError for a place that can't be read.
    """
    return any(
        delta.open_table(root / kind / system / sync / "changes") is not None
        for system, sync in syncs
        for kind in ("sources", "children")
    )


def heads(root: Place) -> dict[str, Head]:
    """The last commit of every Delta table of the lake, by its path below the root."""
    parts = [f"{name}/{part}" for name in table_names(root) for part in PARTS]
    found = {part: last_commit(root, part) for part in parts}
    return {part: each.head for part, each in found.items() if each is not None}


def _log(root: Place, part: str, version: int) -> Place:
    return root / part / "_delta_log" / f"{version:020d}.json"
