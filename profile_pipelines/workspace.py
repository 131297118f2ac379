"""A catalogue with its lake and ledger: what every command and asset works on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING
from uuid import uuid4

from profile_pipelines.catalog.load import load_catalogue
from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.catalogue_mark import (
    CatalogueMark,
    mark_lake,
    mark_of_lake,
    refuse_other,
)
from profile_pipelines.errors import LakeError, PairError
from profile_pipelines.lake_place import Place, lake_place

if TYPE_CHECKING:
    from profile_pipelines.lake import Lake
    from profile_pipelines.ledger import Ledger
    from profile_pipelines.pairing import Pairing

DEMO_CATALOGUE = Path(__file__).parent / "demo" / "catalog"


@dataclass(frozen=True)
class Places:
    """Where the catalogue, the lake and the ledger are."""

    catalogue: Path
    lake: Place
    ledger: str
    refusals: Place | None = None
    """Where what people refused is kept outside lake and ledger; None: nowhere."""

    @classmethod
    def from_environment(
        cls,
        home: Path | None = None,
        *,
        catalogue: str | Path | None = None,
        lake: str | Path | None = None,
        ledger: str | None = None,
    ) -> Places:
        """What isn't given comes from `PROFILE_PIPELINES_CATALOG`, `_LAKE` and `_LEDGER`.

        By default the demo's catalogue, with lake and ledger in `home` (`.demo` here). Those of any
        other catalogue lie beside its folder, as `lake` and `ledger.db`.
        """
        folder = Path(catalogue or os.environ.get("PROFILE_PIPELINES_CATALOG") or DEMO_CATALOGUE)
        is_demo = folder.resolve() == DEMO_CATALOGUE.resolve()
        beside = (home or Path(".demo")) if is_demo else folder.resolve().parent
        lake = lake or os.environ.get("PROFILE_PIPELINES_LAKE") or beside / "lake"
        ledger = ledger or os.environ.get("PROFILE_PIPELINES_LEDGER")
        default = f"sqlite:///{(beside / 'ledger.db').resolve()}"
        place = lake_place(str(lake))
        named = os.environ.get("PROFILE_PIPELINES_REFUSALS")
        refusals = lake_place(named, "record of refusals") if named else refusals_beside(place)
        return cls(folder, place, ledger or default, refusals)

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
    """Opened places. Opening reads the catalogue, nothing else.

    Neither the lake nor the ledger is handed out where it bears the mark of another catalogue.
    """

    def __init__(self, places: Places, catalogue: Catalogue | None = None) -> None:
        self.places = places
        self.catalogue: Catalogue = catalogue or load_catalogue(places.catalogue)
        self._is_its_lake = False

    @cached_property
    def mark(self) -> CatalogueMark:
        """What tells this catalogue from others."""
        return CatalogueMark.of(self.catalogue, self.places.catalogue)

    @cached_property
    def lake(self) -> Lake:
        """The lake. Raises LakeError for that of another catalogue, and PairError where it and the
        ledger don't go together."""
        # who only looks for the catalogue (Dagster's definitions) doesn't wait for the engine
        from profile_pipelines.lake import Lake

        return Lake(self.places.lake, witness=self.pairing)

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger, to which the first use connects.

        Raises LakeError when it can't, or when this or the lake is another catalogue's; and
        PairError where the two don't go together.
        """
        return self._opened[0]

    @property
    def pairing(self) -> Pairing:
        """Lake and ledger as the pair that they are. Raises what `ledger` does."""
        return self._opened[1]

    @cached_property
    def _opened(self) -> tuple[Ledger, Pairing]:
        from profile_pipelines.pairing import Pairing, refuse_lost_ledger

        refuse_other("lake", str(self.places.lake), self._mark_of_lake, self.mark)
        shown = _without_password(self.places.ledger)
        refuse_lost_ledger(self.places.lake, shown, self.ledger_may_be_there)
        ledger = self._open_ledger()
        self._refuse_others(ledger)
        pairing = Pairing(self.places.lake, ledger, shown)
        pairing.check()
        return ledger, pairing

    def unchecked(self) -> tuple[Lake, Ledger, Pairing]:
        """Lake and ledger as they are, whether they go together or not, to put that right."""
        from profile_pipelines.lake import Lake
        from profile_pipelines.pairing import Pairing

        ledger = self._open_ledger()
        pairing = Pairing(self.places.lake, ledger, _without_password(self.places.ledger))
        return Lake(self.places.lake), ledger, pairing

    def mark_both(self) -> None:
        """Mark lake and ledger as this catalogue's, whatever they bear. Raises LakeError when they
        can't be written."""
        self._write_marks(self._open_ledger())

    @property
    def shown_ledger(self) -> str:
        """The ledger's URL as people may see it."""
        return _without_password(self.places.ledger)

    def ledger_may_be_there(self) -> bool:
        """False only for a file that isn't there."""
        file = ledger_file(self.places.ledger)
        return file is None or str(file) == ":memory:" or file.is_file()

    @cached_property
    def _mark_of_lake(self) -> CatalogueMark | None:
        return mark_of_lake(self.places.lake)

    def _mark_both(self) -> None:
        """At a run: as the catalogue is now, so that no number of edits makes it another's."""
        marks = CatalogueMark.read(self.ledger.catalogue_mark()), self._mark_of_lake
        if not all(mark is not None and mark.says_the_same(self.mark) for mark in marks):
            self._write_marks(self.ledger)

    def check_marks(self, *, reach: bool) -> str | None:
        """Raise LakeError where the lake or the ledger bears the mark of another catalogue, and
        PairError where the two don't go together.

        Nothing is made, and what can't be opened isn't told; of a lake that isn't there, what is
        wrong with it is the answer. Without `reach` only what lies in a folder is looked at.
        """
        from profile_pipelines.pairing import Pairing, refuse_lost_ledger

        lake, shown = self.places.lake, _without_password(self.places.ledger)
        looks_at_lake = reach or isinstance(lake, Path)
        if looks_at_lake:
            refuse_other("lake", str(lake), self._mark_of_lake, self.mark)
        file = ledger_file(self.places.ledger)
        if not (reach if file is None else file.is_file()):
            if looks_at_lake:
                refuse_lost_ledger(lake, shown, self.ledger_may_be_there)
            return None
        try:
            ledger = self._open_ledger()
        except LakeError:
            return None
        self._refuse_others(ledger)
        if not looks_at_lake:
            return None
        try:
            Pairing(lake, ledger, shown).check()
        except PairError as error:
            if lake.exists():
                raise
            return str(error)
        return None

    def _refuse_others(self, ledger: Ledger) -> None:
        shown = _without_password(self.places.ledger)
        refuse_other("ledger", shown, CatalogueMark.read(ledger.catalogue_mark()), self.mark)

    def _write_marks(self, ledger: Ledger) -> None:
        mark_lake(self.places.lake, self.mark)
        ledger.mark_catalogue(self.mark.as_json())

    def _open_ledger(self) -> Ledger:
        from sqlalchemy.exc import DBAPIError, SQLAlchemyError

        from profile_pipelines.ledger import Ledger
        from profile_pipelines.refusals import Refusals

        refused = self.places.refusals
        keeper = None if refused is None else Refusals(refused)
        try:
            return Ledger(self.places.ledger, _mapped(self.catalogue), keeper)
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

    def check_lake(self, *, now: datetime) -> None:
        """Before a step that may write: raise PairError where lake and ledger don't go together,
        also where one was replaced since this process opened both. Else both get the catalogue's
        mark, and are a pair from now on.
        """
        if self._is_its_lake:
            self.pairing.confirm()
            return
        self._mark_both()
        self.pairing.begin(now=now)
        self._is_its_lake = True

    @contextmanager
    def at_work(self, *, now: datetime) -> Iterator[None]:
        """Around a step that may write to the lake: `check_lake` before it; then the ledger is
        told of what was committed, and the lake of how far the ledger is."""
        self.check_lake(now=now)
        self.ledger.clock.look(now)
        yield
        self.pairing.advance(now=now)


class Standing:
    """The workspace of a process that runs for long: opened anew, with all that is compared then,
    as soon as lake or ledger aren't those any more that it opened."""

    def __init__(self, open_workspace: Callable[[], Workspace]) -> None:
        self._open = open_workspace
        self._workspace: Workspace | None = None
        self._lock = Lock()

    def __call__(self) -> Workspace:
        """The workspace as it is now. Raises what `Workspace.ledger` does where that is opened."""
        with self._lock:
            if self._workspace is not None:
                try:
                    self._workspace.pairing.confirm()
                except PairError:
                    self._workspace = None
                except LakeError:
                    pass  # a lake out of reach keeps nobody from unsubscribing
            if self._workspace is None:
                opened = self._open()
                _ = opened.ledger
                self._workspace = opened
            return self._workspace


def refusals_beside(lake: Place) -> Place | None:
    """Where refusals are kept by default: beside the lake. Nothing is beside a whole bucket."""
    return lake.parent / f"{lake.name}.refusals" if lake.name else None


def ledger_file(url: str) -> Path | None:
    """The file that a ledger of SQLite is; None for any other."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        named = make_url(url)
    except ArgumentError:
        return None
    is_file = named.get_backend_name() == "sqlite" and named.database
    return Path(named.database) if is_file and named.database else None


def _without_password(url: str) -> str:
    from sqlalchemy.engine import URL, make_url
    from sqlalchemy.exc import ArgumentError

    try:
        named = make_url(url)
    except ArgumentError:
        return "the URL that was given"  # any part of it may be its password
    return URL.create(
        named.drivername, host=named.host, port=named.port, database=named.database
    ).render_as_string()


def _no_ledger(url: str, error: Exception) -> str:
    """Where the ledger should be and what its driver says of it, both without the password."""
    from sqlalchemy.engine import make_url

    named, place = make_url(url), _without_password(url)
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
