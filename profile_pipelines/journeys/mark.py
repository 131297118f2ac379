"""By what a tick tells, without looking at anyone, that nothing can have happened since the last.

What a tick does follows from the answers of the profiles, the enrolments and the clock. Only ticks
move enrolments; answers are others only when the question or the files that it reads are; and of
those who wait for a time the first is let on at a time that is known.
"""

# pyarrow has no types, which the strict mode would report at every touch.
# pyright: standard

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime

from profile_pipelines.engine.duckdb import ParquetFiles
from profile_pipelines.lake.table import Rows


@dataclass(frozen=True)
class Mark:
    """What a tick leaves for the next one."""

    asked: str
    """What it asked of what."""
    versions: set[int]
    """Whose enrolments it moved."""
    active: int
    due_at: datetime | None
    """When the first of those who wait for a time is let on."""
    profiles_seq: int | None = None
    """The commit of the profiles of which the entry's members were told; None in older marks."""

    def is_due(self, now: datetime) -> bool:
        """Whether the clock alone lets somebody on."""
        return self.due_at is not None and self.due_at <= now

    @property
    def text(self) -> str:
        """As the ledger keeps it."""
        due_at = self.due_at.isoformat() if self.due_at else None
        return json.dumps(
            [self.asked, sorted(self.versions), self.active, due_at, self.profiles_seq]
        )

    @classmethod
    def read(cls, text: str) -> Mark:
        """What `text` wrote."""
        asked, versions, active, due_at, *later = json.loads(text)
        due = datetime.fromisoformat(due_at) if due_at else None
        return cls(asked, set(versions), active, due, *later)


def digest_of(rows: Rows) -> str:
    """Another one whenever the rows may be others: of the question, and of the files it reads."""
    files = {
        name: sorted(each.paths if isinstance(each, ParquetFiles) else each)
        for name, each in rows.relations.items()
        if isinstance(each, ParquetFiles | list)
    }
    told = rows.sql.sql(dialect="duckdb") + json.dumps(files, sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:32]
