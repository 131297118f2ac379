"""Erasure: nothing of a person is left anywhere, nobody else loses anything, nobody comes back."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from profile_pipelines.errors import Conflict, DestinationError, NotFound, ProfilePipelinesError
from profile_pipelines.journey_steps import journey_status
from profile_pipelines.journeys.status import JourneyStatus
from profile_pipelines.lake import delta
from profile_pipelines.ledger import Ledger
from profile_pipelines.ledger.erasures import KEY, Erasure, Erasures
from profile_pipelines.ledger.inbox import Named
from profile_pipelines.privacy.erasure import tombstoned_profiles
from profile_pipelines.privacy.erasure_request import requested
from profile_pipelines.privacy_steps import erase_people
from profile_pipelines_tests.company import HOUR, Company, catalogue, stamp
from profile_pipelines_tests.privacy.canaries import NUMBER, Canaries, found

pytestmark = pytest.mark.xdist_group("erasure")


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, datetime]:
    """A canary in every place that holds anything of customers; and the time there."""
    company = Canaries(tmp_path_factory.mktemp("filled"))
    company.fill()
    return company.folder, company.now


@pytest.fixture
def company(filled: tuple[Path, datetime], tmp_path: Path) -> Canaries:
    """A company of its own like that."""
    return _copy(filled, tmp_path / "company")


def _copy(filled: tuple[Path, datetime], folder: Path) -> Canaries:
    shutil.copytree(filled[0], folder)
    company = Canaries(folder)
    company.now = filled[1]
    return company


def _requested(company: Company, *identifiers: str) -> list[int]:
    space = company.workspace
    given = [(f"people.txt:{line}: ", text) for line, text in enumerate(identifiers, 1)]
    return requested(space.catalogue, space.lake, space.ledger, given).profiles


def _erase(company: Company, *identifiers: str) -> Erasure:
    wanted = _requested(company, *identifiers)
    return erase_people(company.workspace, wanted, reference="DSR-1", by="officer", now=company.now)


def test_no_byte_is_left(company: Canaries) -> None:
    """Neither in the lake and its logs, nor the ledger, Dagster's storage, or what was sent."""
    places = found(company.folder)
    for part in (
        "children", "identities", "profiles", "crm", "billing", "ledger", "outbox", "exports",
    ):  # fmt: skip
        assert any(part in place for place in places), part
    certificate = _erase(company, f"c-{NUMBER}")
    assert found(company.folder) == []
    assert certificate.completed_at == company.now
    assert certificate.removed["sources/crm/people"] == 2
    assert certificate.removed["inbox"] == 2
    assert certificate.removed["message files"] == 1
    assert certificate.removed["consent acts"] == 1
    assert certificate.removed["destination sheet"] == 1


def test_destinations_give_them_up(company: Canaries) -> None:
    """Who was delivered is removed there; what can't be is said, and the erasure stays open."""
    assert _theirs(company) == 4
    company.declared["destinations"]["table"]["to"]["url"] = "sqlite:////nowhere/theirs.db"
    company.declare(company.declared)
    with pytest.raises(DestinationError, match="has moved to another place"):
        _erase(company, NUMBER)
    [begun] = company.workspace.ledger.erasures.all()
    assert begun.completed_at is None
    again = Canaries(company.folder)
    again.now = company.now
    assert _erase(again, NUMBER).removed["destination table"] == 1
    assert _theirs(company) == 3
    assert found(company.folder) == []


def test_a_destination_of_the_past_is_named(company: Canaries) -> None:
    """What can't be reached, since nobody declares it any more, stands in the certificate."""
    del company.declared["destinations"]["table"]
    company.declare(company.declared)
    removed = _erase(company, NUMBER).removed
    assert removed["NOT REMOVED from destination table, which isn't declared any more"] == 1


def test_files_of_a_channel_of_the_past_go(company: Canaries) -> None:
    """Mails that a channel wrote which isn't declared any more."""
    for part in ("channels", "journeys", "templates"):
        del company.declared[part]
    company.declare(company.declared)
    assert _erase(company, NUMBER).removed["message files"] == 1
    assert found(company.folder) == []


def _theirs(company: Canaries) -> int:
    with closing(sqlite3.connect(company.folder / "theirs.db")) as theirs:
        return theirs.execute("select count(*) from active").fetchone()[0]


def test_nobody_else_loses_anything(company: Canaries) -> None:
    """The others' values, receipts and past are as they were; so are the waiting events."""
    moments = [company.now - 30 * HOUR, company.now - 60 * HOUR]

    def others() -> list[Any]:
        return [
            company.customers.profile(key, now=company.now, as_of=moment)
            for key in ("1", "2", "3")
            for moment in [None, *moments]
        ]

    before = others()
    _erase(company, NUMBER)
    assert others() == before
    waiting = company.workspace.ledger.inbox.waiting("crm", "people", 10)
    assert [row.key for row in waiting] == ["1"]


def test_nobody_comes_back(company: Canaries) -> None:
    """Neither by a whole read, nor by an event, nor under an identifier of the past."""
    _erase(company, NUMBER)
    store = company.workspace.ledger.inbox.store
    record = {"id": "5", "email": "Canary@Person.example", "tier": "TIERcanary"}
    events = [
        Named("crm", "people", None, json.dumps(record)),
        Named("shop", "people", "KEYcanary"),
    ]
    store(events, [], now=company.now)
    company.put("crm", "new", email="other-canary@person.example", changed=stamp(50), tier="canary")
    company.everything(full=True)
    company.everything()
    assert not [place for place in found(company.folder) if "ledger" not in place]
    with pytest.raises(NotFound):
        company.customers.profile("canary@person.example", now=company.now)
    assert company.profile("1")["tier"] == "silver"


def test_the_journeys_numbers_add_up(company: Canaries) -> None:
    """Who is erased leaves the journey, and is counted at the step; the messages stay counted."""

    def status() -> JourneyStatus:
        return journey_status(company.workspace, "daily", now=company.now)

    before, messages = status(), company.workspace.ledger.outbox.counts()
    _erase(company, NUMBER)
    after = status()
    assert after.active == before.active - 1
    assert after.exited == {**before.exited, "erased": 1}
    assert [sum(s.messages.values()) for s in after.steps] == [
        sum(s.messages.values()) for s in before.steps
    ]
    assert company.workspace.ledger.outbox.counts() == messages


def test_it_may_be_asked_again(company: Canaries) -> None:
    """Once erased, the same request finds the certificate and does nothing."""
    first = _erase(company, NUMBER)
    space = company.workspace
    again = requested(space.catalogue, space.lake, space.ledger, [("", "canary@person.example")])
    assert (again.profiles, again.done) == ([], [first])


def test_a_bad_request_erases_nobody(company: Canaries) -> None:
    """All that is wrong is told with its place, and without the identifiers."""
    with pytest.raises(NotFound) as error:
        _erase(company, NUMBER, "nobody@canary.example", "1", "missing-canary")
    assert str(error.value).splitlines() == [
        "people.txt:2: no profile has this identifier",
        "people.txt:4: no profile has this identifier",
    ]
    assert company.profile(NUMBER)["tier"] == "canary2"


class _KilledError(BaseException):
    """Stands for the end of the process."""


def _killing(monkeypatch: pytest.MonkeyPatch, point: int) -> None:
    """Die before the n-th commit, entry in the ledger, or deletion of a file."""
    passed = 0

    def passing(step: Callable[..., Any]) -> Callable[..., Any]:
        def stepped(*args: Any, **kwargs: Any) -> Any:
            nonlocal passed
            passed += 1
            if passed == point:
                raise _KilledError
            return step(*args, **kwargs)

        return stepped

    monkeypatch.setattr(delta, "commit", passing(delta.commit))
    for name in ("begin", "count", "complete"):
        monkeypatch.setattr(Erasures, name, passing(getattr(Erasures, name)))
    for name in ("forget", "vacuum"):
        monkeypatch.setattr(Ledger, name, passing(getattr(Ledger, name)))
    monkeypatch.setattr(Path, "unlink", passing(Path.unlink))


@pytest.mark.slow
def test_killed_anywhere_it_is_done_by_doing_it_again(
    filled: tuple[Path, datetime], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it died before, the second time ends it, and its certificate is the same."""
    whole = _copy(filled, tmp_path / "whole")
    expected = _erase(whole, NUMBER).removed
    # an odd step meets every kind of point: a table has a count, commits and deletions
    for point in range(1, 500, 7):
        company = _copy(filled, tmp_path / str(point))
        with monkeypatch.context() as patch:
            _killing(patch, point)
            try:
                _erase(company, NUMBER)
            except _KilledError:
                pass
            else:
                break
        certificate = _erase(company, "canary@person.example")
        assert (certificate.erasure, certificate.removed) == (1, expected)
        assert found(company.folder) == []
        shutil.rmtree(company.folder)
    else:
        pytest.fail("there are more points than were tried")


def test_a_restored_backup_is_erased_again(company: Canaries) -> None:
    """A lake of yesterday brings the people back, until the tombstones are replayed."""
    backup = company.folder.parent / "backup"
    shutil.copytree(company.folder / "lake", backup)
    _erase(company, NUMBER)
    shutil.rmtree(company.folder / "lake")
    shutil.copytree(backup, company.folder / "lake")
    space = company.workspace
    back = tombstoned_profiles(space.catalogue, space.lake, space.ledger)
    assert len(back) == 1
    erase_people(space, back, reference="replay", by="officer", now=company.now)
    assert found(company.folder) == []
    assert tombstoned_profiles(space.catalogue, space.lake, space.ledger) == []


def test_a_run_that_began_before_cannot_write_after(company: Canaries) -> None:
    """What was read before the erasure is never committed after it."""
    space = company.workspace
    tables = [
        space.lake.source(space.catalogue, "crm", "people"),
        space.lake.identities(space.catalogue),
        space.lake.profiles(space.catalogue),
    ]
    pinned = [table.pin() for table in tables]
    _erase(company, NUMBER)
    for each in pinned:
        with pytest.raises(Conflict):
            each.commit(space.lake.engine, None, now=company.now, run_id="r", state={"a": 1})


def test_without_their_key_tombstones_are_not_passed_over(
    company: Canaries, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another key than theirs stops erasures and syncs alike."""
    monkeypatch.setenv(KEY, "a key of the environment")
    _erase(company, NUMBER)
    monkeypatch.setenv(KEY, "another key of the environment")
    other = Canaries(company.folder)
    with pytest.raises(ProfilePipelinesError, match="isn't the key of the tombstones"):
        other.sync("crm", full=True)
    monkeypatch.setenv(KEY, "short")
    with pytest.raises(ProfilePipelinesError, match="too short"):
        Canaries(company.folder).sync("crm", full=True)


def test_no_row_is_left_in_postgresql(tmp_path: Path, postgres_url: str) -> None:
    """The ledger of production holds nothing of them either."""
    company = Canaries(tmp_path, postgres_url)
    company.fill()
    _erase(company, NUMBER)
    assert found(company.folder) == []
    engine = sa.create_engine(postgres_url.replace("postgresql:", "postgresql+psycopg2:", 1))
    metadata = sa.MetaData()
    metadata.reflect(engine)
    with engine.connect() as connection:
        rows = [repr(connection.execute(sa.select(t)).all()) for t in metadata.sorted_tables]
    engine.dispose()
    assert len(rows) > 10
    assert not [row for row in rows if "canary" in row.lower()]


def test_who_is_held_apart_loses_nothing(tmp_path: Path) -> None:
    """People of a shared mailbox, above the cap and without a profile, aren't erased with one."""
    made = catalogue(("crm",), ("status",))
    made["settings"] = {"max_cluster": 2}
    company = Company(tmp_path, made)
    company.put("crm", "1", no="1", email="shared@x.de", changed=stamp(-5), status="active")
    for key in "234":
        company.put("crm", key, email="shared@x.de", changed=stamp(-5), status="active")
    company.run()
    assert _erase(company, "1").removed["sources/crm/people"] == 1
    company.remove("crm", "1")
    company.run(full=True)
    people = company.workspace.lake.source(company.workspace.catalogue, "crm", "people").pin()
    rows = people.current(["record_key", "deleted"], "s")
    found = company.workspace.lake.engine.rows(rows.sql, rows.relations)
    assert {row["record_key"] for row in found if not row["deleted"]} == {"2", "3", "4"}


def test_what_others_share_stays_theirs(tmp_path: Path) -> None:
    """Of people who are held apart for an identifier that too many have, only one is erased."""
    declared = catalogue(("crm",), ("tier",))
    declared["settings"] = {"max_cluster": 2}
    company = Company(tmp_path, declared)
    for key in ("1", "2", "3"):
        company.put("crm", key, no=key, email="info@canary.example", changed=stamp(-5), tier=key)
    company.run()
    with pytest.raises(ProfilePipelinesError, match="belongs to several people"):
        _erase(company, "info@canary.example")
    _erase(company, "2")
    company.put("crm", "2", no="2", email="info@canary.example", changed=stamp(0.5), tier="back")
    company.run(full=True)
    assert [company.profile(key)["tier"] for key in ("1", "3")] == ["1", "3"]
    with pytest.raises(NotFound):
        company.profile("2")


def test_what_stood_in_anothers_profile_goes(tmp_path: Path) -> None:
    """A record that was once taken for somebody else's leaves no trace in that profile's past."""
    company = Company(tmp_path, catalogue(("crm", "billing"), ("tier", "points")))
    company.put("crm", "1", no="1", email="one@x.example", changed=stamp(-5), points="1")
    company.put("billing", "9", email="one@x.example", changed=stamp(-5), tier="TIERcanary")
    company.run()
    assert company.profile("1")["tier"] == "TIERcanary"
    company.put("billing", "9", email="canary@x.example", changed=stamp(0.5), tier="TIERcanary")
    company.run()
    _erase(company, "canary@x.example")
    assert found(company.folder) == []
    assert company.profile("1") == {"points": 1}
    company.run(full=True)
    assert company.profile("1") == {"points": 1}
