"""A catalogue with its lake and ledger: what every command and asset works on."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from profile_pipelines.catalog.load import load_catalogue
from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.errors import LakeError
from profile_pipelines.lake_place import Place, lake_place

if TYPE_CHECKING:
    from profile_pipelines.lake import Lake
    from profile_pipelines.ledger import Ledger

DEMO_CATALOGUE = Path(__file__).parent / "demo" / "catalog"


@dataclass(frozen=True)
class Places:
    """Where the catalogue, the lake and the ledger are."""

    catalogue: Path
    lake: Place
    ledger: str

    @classmethod
    def from_environment(cls, home: Path | None = None) -> Places:
        """From `PROFILE_PIPELINES_CATALOG`, `_LAKE` and `_LEDGER`.

        By default the demo's catalogue, with lake and ledger in `home` (`.demo` here).
        """
        home = home or Path(".demo")
        lake = os.environ.get("PROFILE_PIPELINES_LAKE") or str(home / "lake")
        ledger = os.environ.get("PROFILE_PIPELINES_LEDGER")
        return cls(
            Path(os.environ.get("PROFILE_PIPELINES_CATALOG") or DEMO_CATALOGUE),
            lake_place(lake),
            ledger or f"sqlite:///{(home / 'ledger.db').resolve()}",
        )

    @property
    def outbox(self) -> Path:
        """Where channels of type `file` write: beside the lake, or here when that is in a store."""
        return self._beside("outbox")

    @property
    def exports(self) -> Path:
        """Where destinations write files, like `outbox`."""
        return self._beside("exports")

    def _beside(self, name: str) -> Path:
        return Path(name) if "://" in str(self.lake) else Path(str(self.lake)).parent / name


class Workspace:
    """Opened places. Opening reads the catalogue, nothing else."""

    def __init__(self, places: Places, catalogue: Catalogue | None = None) -> None:
        # who only looks for the catalogue (Dagster's definitions) doesn't wait for the engine
        from profile_pipelines.lake import Lake

        self.places = places
        self.catalogue: Catalogue = catalogue or load_catalogue(places.catalogue)
        self.lake: Lake = Lake(places.lake)
        self._is_its_lake = False

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger, to which the first use connects. Raises LakeError when it can't."""
        from sqlalchemy.exc import DBAPIError, SQLAlchemyError

        from profile_pipelines.ledger import Ledger

        try:
            return Ledger(self.places.ledger, _mapped(self.catalogue))
        except ImportError as error:
            raise LakeError(
                "the ledger can't be opened: the driver that its URL names isn't installed (there "
                f"is no module {error.name}); PostgreSQL's and SQLite's are always there, as "
                "postgresql://… and sqlite:///…"
            ) from None
        except (DBAPIError, OSError) as error:
            raise LakeError(_no_ledger(self.places.ledger, error)) from None
        except SQLAlchemyError as error:
            # the library's own message would show the URL with its password
            raise LakeError(
                f"the ledger can't be opened ({type(error).__name__}); --ledger and "
                "PROFILE_PIPELINES_LEDGER take an SQLAlchemy URL, for example sqlite:///ledger.db"
            ) from None

    def check_lake(self) -> None:
        """Raise LakeError where the ledger knows syncs, and the lake has records of none of them.

        It is another lake then, or a lost one. To go on would take all customers for gone: their
        journeys would end, and destinations would be emptied.
        """
        if self._is_its_lake:
            return
        synced = self.ledger.synced()
        if synced and not self.lake.holds_any(synced):
            raise LakeError(
                f"the lake {self.places.lake} has no records, but the ledger knows syncs that "
                "wrote some: is this the lake that goes with the ledger (--lake, "
                "PROFILE_PIPELINES_LAKE)? A lake that was lost is restored from a backup; one that "
                "is begun anew needs a new ledger, too"
            )
        self._is_its_lake = True


def _no_ledger(url: str, error: Exception) -> str:
    """Where the ledger should be and what its driver says of it, both without the password."""
    from sqlalchemy.engine import URL, make_url

    named = make_url(url)
    place = URL.create(
        named.drivername, host=named.host, port=named.port, database=named.database
    ).render_as_string()
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    said = lines[0] if lines else type(error).__name__
    if named.password:
        said = said.replace(str(named.password), "***")
    return f"the ledger can't be opened at {place}: {said}"


def _mapped(catalogue: Catalogue) -> dict[tuple[str, str], str]:
    """Which sync brings an attribute, by system and attribute."""
    return {
        (system, attribute): sync
        for system, declared in catalogue.systems.items()
        for sync, each in declared.syncs.items()
        for attribute in each.attributes
    }


def new_run_id(now: datetime) -> str:
    """An id that sorts by time, for runs that Dagster doesn't name."""
    return f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{uuid4().hex[:8]}"
