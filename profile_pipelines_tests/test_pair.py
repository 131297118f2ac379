"""Lake and ledger know each other: what is put back, lost or mixed up is noticed before anything
is read or written, and no number is given out twice."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from deltalake import DeltaTable

from profile_pipelines import journey_steps, pipeline
from profile_pipelines.adoption import adopt
from profile_pipelines.errors import PairError
from profile_pipelines.lake import delta
from profile_pipelines.workspace import Workspace
from profile_pipelines_tests.company import HOUR, Company, empty_ledger
from profile_pipelines_tests.privacy.reminders import Reminders, declared

pytestmark = pytest.mark.xdist_group("pair")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pairs of the same catalogue and customers, `own` and `other`."""
    folder = tmp_path_factory.mktemp("built")
    for name in ("own", "other"):
        _written_to(folder / name)
    return folder


@pytest.fixture
def company(built: Path, tmp_path: Path) -> Reminders:
    """Two customers who were written to, a copy of both halves as `older`, then a third one."""
    shutil.copytree(built, tmp_path, dirs_exist_ok=True)
    company = Reminders(tmp_path / "own", declared())
    company.now += 2 * HOUR
    return company


def _written_to(folder: Path, ledger: str | None = None) -> Reminders:
    folder.mkdir()
    company = Reminders(folder, declared(), ledger=ledger)
    company.customer("1")
    company.customer("2")
    assert company.remind(full=True).total("sent") == 2
    shutil.copytree(folder / "lake", folder / "older")
    _dump(company, "older")
    company.customer("3")
    assert company.remind(full=True).total("sent") == 1
    _dump(company, "newer")
    return company


def _tables(url: str) -> tuple[sa.Engine, sa.MetaData]:
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg2:"))
    metadata = sa.MetaData()
    metadata.reflect(engine)
    return engine, metadata


_DUMPS: dict[str, dict[str, list[dict[str, object]]]] = {}
"""What ledgers held, by their database, the pair's folder and a name."""


def _kind(company: Company) -> str:
    return company.ledger.partition(":")[0]


def _dump(company: Company, name: str) -> None:
    engine, metadata = _tables(company.ledger)
    with engine.connect() as connection:
        _DUMPS[f"{_kind(company)} {company.folder.name} {name}"] = {
            table.name: [dict(row) for row in connection.execute(sa.select(table)).mappings()]
            for table in metadata.sorted_tables
        }
    engine.dispose()


def _restore_ledger(company: Company, name: str) -> None:
    """Make the ledger hold what one held when it was copied under this name."""
    dumped = _DUMPS.get(f"{_kind(company)} {name}") or _DUMPS[f"sqlite {name}"]
    engine, metadata = _tables(company.ledger)
    with engine.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(sa.delete(table))
        for table in metadata.sorted_tables:
            if dumped.get(table.name):
                connection.execute(sa.insert(table), dumped[table.name])
    engine.dispose()
    company.declare(company.declared)


def _lake(company: Company, put: Path | None, table: str = "") -> None:
    """Put a copy in place of the lake, or of one of its tables; None takes it away."""
    place = company.folder / "lake" / table
    shutil.rmtree(place)
    if put is not None:
        shutil.copytree(put / table, place)
    company.declare(company.declared)


def _lake_older(company: Company) -> str:
    _lake(company, company.folder / "older")
    return "is older than the ledger .* by? ?.*knows"


def _lake_missing(company: Company) -> str:
    _lake(company, None)
    return "has no records, but the ledger knows syncs"


def _lake_fresh(company: Company) -> str:
    _lake(company, None)
    (company.folder / "lake").mkdir()
    return "has no records, but the ledger knows syncs"


def _lake_of_another_pair(company: Company) -> str:
    _lake(company, company.folder.parent / "other" / "lake")
    return "halves of different pairs"


def _table_older(company: Company) -> str:
    _lake(company, company.folder / "older", "profiles")
    return "is older than the ledger .*: profiles is 1 commit behind"


def _table_missing(company: Company) -> str:
    _lake(company, None, "audiences")
    return "is older than the ledger .*audiences/active is missing"


def _table_with_another_commit(company: Company) -> str:
    _lake(company, company.folder.parent / "other" / "lake", "identities")
    return "identities is another table than the one that the ledger knows"


def _ledger_older(company: Company) -> str:
    _restore_ledger(company, "own older")
    return "the ledger .* is older than the lake .* knows it"


def _ledger_empty(company: Company) -> str:
    engine, metadata = _tables(company.ledger)
    with engine.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(sa.delete(table))
    engine.dispose()
    company.declare(company.declared)
    return "the ledger .* is empty, or of before the two were a pair"


def _ledger_missing(company: Company) -> str:
    if company.ledger.startswith("sqlite"):
        (company.folder / "ledger.db").unlink()
        company.declare(company.declared)
        return "there is no ledger at .* but the lake"
    empty_ledger(company.ledger)
    company.declare(company.declared)
    return "the ledger .* is empty, or of before the two were a pair"


def _ledger_of_another_pair(company: Company) -> str:
    _restore_ledger(company, "other newer")
    return "halves of different pairs"


LEDGERS = [_ledger_older, _ledger_empty, _ledger_of_another_pair, _ledger_missing]
STATES = [
    _lake_older, _lake_missing, _lake_fresh, _lake_of_another_pair, _table_older, _table_missing,
    _table_with_another_commit, *LEDGERS,
]  # fmt: skip


def _files(folder: Path) -> dict[str, bytes]:
    return {str(e): e.read_bytes() for e in sorted(folder.rglob("*")) if e.is_file()}


@pytest.mark.parametrize("state", STATES)
def test_what_does_not_go_together_is_refused(
    company: Reminders, state: Callable[[Company], str]
) -> None:
    """Before the lake is written or a message goes out, whichever step comes first."""
    _refused(company, state(company))


def test_so_it_is_in_postgresql(built: Path, tmp_path: Path, postgres_url: str) -> None:
    """Whatever the ledger holds that was put back there; the right one is taken again."""
    company = _written_to(tmp_path / "own", postgres_url)
    for state in LEDGERS:
        _restore_ledger(company, "own newer")
        assert company.workspace.ledger.pair.read()
        _refused(company, state(company))


def _refused(company: Reminders, said: str) -> None:
    space, now = company.workspace, company.now
    before, mails = _files(company.folder / "lake"), _files(company.folder / "outbox")
    steps: list[Callable[[Workspace], object]] = [
        lambda space: space.lake,
        lambda space: space.ledger,
        lambda space: pipeline.due_syncs(space, now),
        lambda space: pipeline.resolve_identities(space, now=now, run_id="r"),
        lambda space: journey_steps.dispatch(space, clock=lambda: now),
    ]
    if (company.folder / "lake").exists():
        steps.append(lambda space: space.check_marks(reach=True))
    for step in steps:
        with pytest.raises(PairError, match=said) as refused:
            step(Workspace(space.places))
        assert "accept them with `profile-pipelines adopt`" in str(refused.value)
    assert _files(company.folder / "lake") == before
    assert _files(company.folder / "outbox") == mails


def test_a_table_whose_log_was_cleaned_counts_by_its_version(company: Reminders) -> None:
    """Where another tool has gone on with it, and deleted the entry that the ledger knows; and
    the next look costs no more than with any other table."""
    place = company.folder / "lake" / "audiences" / "active" / "changes"
    table = DeltaTable(place)
    head = table.version()
    table.alter.set_table_properties({"delta.logRetentionDuration": "interval 1 days"})
    DeltaTable(place).create_checkpoint()
    for entry in (place / "_delta_log").glob("*.json"):
        if int(entry.stem) <= head:
            entry.unlink()
    assert company.workspace.ledger.pair.read()
    company.run()
    own = Workspace(company.workspace.places).ledger.pair.read()
    assert own is not None
    assert own.heads["audiences/active/changes"].version > head
    _lake(company, None, "audiences/active/changes")
    with pytest.raises(PairError, match="audiences/active is missing"):
        _ = company.workspace.ledger


def test_adopt_that_was_broken_off_is_done_again(
    company: Reminders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At whichever commit: the pair stays refused until it is through, and nothing goes out."""
    _lake_older(company)
    commit = delta.commit
    left = 0

    def killed(*args: Any, **more: Any) -> None:
        nonlocal left
        if left == 0:
            raise KeyboardInterrupt
        left -= 1
        commit(*args, **more)

    monkeypatch.setattr(delta, "commit", killed)
    for times in range(100):
        left = times
        try:
            adopt(company.workspace, now=company.now)
        except KeyboardInterrupt:
            with pytest.raises(PairError):
                _ = Workspace(company.workspace.places).ledger
        else:
            break
    assert times >= 3
    monkeypatch.undo()
    company.declare(company.declared)
    company.customer("4")
    assert company.remind(full=True).total("sent") == 0
