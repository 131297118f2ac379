"""The list of suppressed addresses: brought in from a file, and counted."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import cast

from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.consent.permission import check_purpose
from profile_pipelines.errors import ProfilePipelinesError
from profile_pipelines.ledger.suppressions import REASONS, Reason, Suppressions

COLUMNS = ("address", "purpose", "reason", "at")


@dataclass(frozen=True)
class SuppressionCount:
    """How many addresses are suppressed for a purpose (None: for all) and a reason."""

    purpose: str | None
    reason: Reason | None
    addresses: int


def import_list(
    catalogue: Catalogue,
    suppressions: Suppressions,
    path: Path,
    *,
    purpose: str | None,
    reason: Reason,
    by: str,
    now: datetime,
    when: Callable[[str], datetime],
) -> int:
    """Suppress the addresses of a CSV file; how many acts are new.

    Its columns are `address` and, if it likes, `purpose`, `reason` and `at`, in place of those
    given; `when` reads a time. Nothing is brought where a line is wrong: raises
    ProfilePipelinesError with the line, or UnknownName for a purpose.
    """
    acts: list[dict[str, object]] = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = csv.DictReader(file)
            unknown = sorted(set(lines.fieldnames or ()) - set(COLUMNS))
            if "address" not in (lines.fieldnames or ()) or unknown:
                raise ProfilePipelinesError(
                    f"{path}: needs the column address, and may have purpose, reason and at"
                    + (f"; it has {', '.join(unknown)}" if unknown else "")
                )
            for line in lines:
                where = f"{path}:{lines.line_num}"
                told = {name: (line.get(name) or "").strip() for name in COLUMNS}
                if not told["address"]:
                    raise ProfilePipelinesError(f"{where}: there is no address")
                if told["reason"] not in ("", *REASONS):
                    raise ProfilePipelinesError(f"{where}: a reason is one of {', '.join(REASONS)}")
                try:
                    at = when(told["at"]) if told["at"] else now
                except ValueError:
                    raise ProfilePipelinesError(f"{where}: `at` isn't a time") from None
                if told["purpose"]:
                    check_purpose(catalogue, told["purpose"])
                acts.append(
                    {
                        "address": suppressions.mark(told["address"]),
                        "purpose": told["purpose"] or purpose or "", "suppressed": True,
                        "reason": cast(Reason, told["reason"] or reason), "at": at, "by": by,
                        "because": None,
                    }
                )  # fmt: skip
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ProfilePipelinesError(f"{path}: can't be read as CSV in UTF-8") from error
    return suppressions.add_all(acts)


def counts(suppressions: Suppressions, purpose: str | None) -> list[SuppressionCount]:
    """How many addresses are suppressed now, by purpose and reason."""
    found: Counter[tuple[str | None, Reason | None]] = Counter()
    for act in suppressions.standing(purpose):
        found[act.purpose, act.reason] += 1
    order = sorted(found, key=lambda each: (each[0] or "", each[1] or ""))
    return [SuppressionCount(told, reason, found[told, reason]) for told, reason in order]
