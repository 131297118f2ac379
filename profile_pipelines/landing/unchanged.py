"""Whether a source whose change mark is as it was can be taken as unchanged."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from profile_pipelines.landing.extraction import Landing
from profile_pipelines.ledger import Ledger
from profile_pipelines.sources import Source


def tells_of_every_change(
    landing: Landing,
    ledger: Ledger,
    source: Source,
    covered: Iterable[str],
    since: datetime | None,
) -> bool:
    """Whether an equal mark means that nothing has changed since the cursor `since`.

    A mark of files tells of every change. That of a database counts records and compares the
    newest times, which is enough only where records bear the time of their change, and none can
    still come late with a time before the newest known.
    """
    if landing.catalogue.systems[landing.system].connection.type in ("files", "custom"):
        return True
    if since is None:
        return False
    coverage = ledger.coverage()
    looked = [coverage.get((landing.system, attribute)) for attribute in covered]
    late_until = since + landing.declared.lateness
    if any(each is None or each <= late_until for each in looked):
        return False
    return source.has_newer(since) is False
