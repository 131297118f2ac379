"""A restore puts both halves back, and nobody who said no since is written to or comes back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from profile_pipelines import journey_steps
from profile_pipelines.backup import restore as restoring
from profile_pipelines.backup.place import BackupPlace, Manifest
from profile_pipelines.backup.restore import LEAP, Restored, restore
from profile_pipelines.backup.take import take
from profile_pipelines.errors import BackupError, PairError
from profile_pipelines.lake.heads import heads
from profile_pipelines.privacy_steps import erase_people
from profile_pipelines.workspace import Workspace
from profile_pipelines_tests.company import HOUR
from profile_pipelines_tests.privacy.reminders import Reminders, declared

DAY = 24 * HOUR


class Restorable(Reminders):
    """A company with one backup."""

    @property
    def place(self) -> BackupPlace:
        return BackupPlace(str(self.folder / "backups"))

    def back_up(self) -> Manifest:
        return take(self.workspace, self.place, now=self.now).manifest

    def restore(self, *, replace: bool = True) -> Restored:
        """From the last backup; then everything is opened anew."""
        done = restore(
            Workspace(self.workspace.places), self.place, self.place.manifest(None),
            now=self.now, replace=replace,
        )  # fmt: skip
        self.declare(self.declared)
        return done


ANY_LEDGER = pytest.mark.parametrize("company", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def company(request: pytest.FixtureRequest, tmp_path: Path) -> Restorable:
    """Three customers who were written to, and a backup."""
    ledger = None
    if getattr(request, "param", None) == "postgresql":
        ledger = request.getfixturevalue("postgres_url")
    company = Restorable(tmp_path, declared(), ledger=ledger)
    for key in "123":
        company.customer(key)
    assert company.remind(full=True).total("sent") == 3
    company.back_up()
    return company


@ANY_LEDGER
def test_it_takes_the_place_of_what_is_there_only_when_told(company: Restorable) -> None:
    """Else nothing is changed; and what was there isn't lost."""
    company.customer("4")
    company.remind(full=True)
    before = heads(company.lake)
    with pytest.raises(BackupError, match=r"nothing was restored: the lake .* has \d+ tables"):
        company.restore(replace=False)
    assert heads(company.lake) == before
    done = company.restore()
    assert heads(Path(str(done.lake_aside))) == before
    assert Path(str(done.ledger_aside)).stat().st_mode & 0o077 == 0
    assert heads(company.lake) != before
    company.workspace.pairing.check()


@ANY_LEDGER
@pytest.mark.parametrize("key", ["one that is kept elsewhere", None])
def test_who_refused_since_stays_refused(
    company: Restorable, key: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Erased, suppressed and unsubscribed after the backup: none comes back by the restore, nor by
    the next full read, and nothing is sent to them. Also where the key went with the ledger."""
    if key is not None:
        monkeypatch.setenv("PROFILE_PIPELINES_ERASURE_KEY", key)
    now = company.now
    space = company.workspace
    erased = company.customers.profile("1", now=now).profile_id
    unsubscribed = company.unsubscribe("2")
    mark = space.ledger.suppressions.mark("c3@example.com")
    space.ledger.suppressions.add(mark, "email", "complained", at=now)
    erase_people(space, [erased], reference="DSR-1", by="tests", now=now)
    assert len(company.customers.members("active").to_arrow()) == 2
    done = company.restore()
    assert done.refused is not None
    assert (done.refused.erasures, done.refused.addresses, done.refused.consents) == (1, 1, 1)
    space = company.workspace
    assert mark in space.ledger.suppressions.of([mark], "email")
    assert unsubscribed in space.ledger.unsubscribes.of("email")
    another = space.ledger.suppressions.mark("c9@example.com")
    assert space.ledger.suppressions.add(another, None, "bounced", at=company.now)
    company.now += DAY
    company.run(full=True)
    assert len(company.customers.members("active").to_arrow()) == 2
    unsettled = [each.number for each in space.ledger.pair.unsettled()]
    assert len(unsettled) == 1
    company.workspace.ledger.pair.settle(unsettled, now=company.now)
    assert company.remind(full=True).total("sent") == 0


def test_what_was_let_in_again_stays_let_in(company: Restorable) -> None:
    """An address whose suppression was lifted, and an unsubscription that was taken back."""
    space, now = company.workspace, company.now
    mark = space.ledger.suppressions.mark("c3@example.com")
    space.ledger.suppressions.add(mark, "email", "complained", at=now)
    again = {"by": "tests", "because": "asked for it"}
    space.ledger.suppressions.restore(mark, "email", at=now, **again)
    unsubscribed = company.unsubscribe("2")
    space.ledger.unsubscribes.restore(unsubscribed, "email", now=now, **again)
    company.restore()
    ledger = company.workspace.ledger
    assert mark not in ledger.suppressions.of([mark], "email")
    assert unsubscribed not in ledger.unsubscribes.of("email")
    assert [act.unsubscribed for act in ledger.unsubscribes.of_profiles([unsubscribed])] == [
        True, False,
    ]  # fmt: skip


@ANY_LEDGER
def test_nothing_is_sent_again_before_a_person_says_so(company: Restorable) -> None:
    """What went out after the backup, and what is decided anew since the restore."""
    company.customer("4")
    company.now += DAY
    assert company.remind(full=True).total("sent") == 4
    company.restore()
    company.now += DAY
    done = company.remind(full=True)
    assert done.total("sent") == 0
    assert done.kept_back == 4
    ledger = company.workspace.ledger
    ledger.pair.settle([each.number for each in ledger.pair.unsettled()], now=company.now)
    assert company.remind().total("sent") == 4


def test_no_number_is_given_out_twice(company: Restorable) -> None:
    """Profiles and enrolments that came after the backup have numbers that nobody gets again."""
    company.customer("4")
    company.remind(full=True)
    lost = company.customers.profile("4", now=company.now).profile_id
    company.restore()
    company.customer("5")
    company.now += DAY
    company.run(full=True)
    journey_steps.tick_journey(company.workspace, "daily", now=company.now)
    new = company.customers.profile("5", now=company.now).profile_id
    assert new > lost + LEAP - 1
    numbers = company.workspace.ledger.enrolments.active("daily")["id"].to_list()
    assert max(numbers) > LEAP


def test_a_run_meanwhile_is_noticed(company: Restorable, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would write to what is put back, or be lost with what is moved aside: nothing is done."""
    renew = restoring._renew  # pyright: ignore[reportPrivateUsage]

    def beside_a_run(*args: Any, **kwargs: Any) -> None:
        company.customer("4")
        company.remind(full=True)
        renew(*args, **kwargs)

    monkeypatch.setattr(restoring, "_renew", beside_a_run)
    with pytest.raises(BackupError, match="something wrote to the lake"):
        company.restore()
    company.workspace.pairing.check()
    assert len(company.customers.members("active").to_arrow()) == 4
    assert not list(company.folder.glob("*.restoring"))


class Killed(BaseException):
    """Stands for the end of the process."""


def _killed(*args: object, **kwargs: object) -> None:
    raise Killed


@pytest.mark.parametrize("point", ["_renew", "move", "copy_in", "_end"])
def test_a_restore_that_is_killed_is_ended_by_the_next(
    company: Restorable, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    """Before the swap nothing has changed; in the middle every command refuses."""
    company.customer("4")
    company.remind(full=True)
    erase_people(company.workspace, [1], reference=None, by="tests", now=company.now)
    before = heads(company.lake)
    with monkeypatch.context() as patched:
        patched.setattr(restoring, point, _killed)
        with pytest.raises(Killed):
            company.restore()
    if point in ("copy_in", "_end"):
        with pytest.raises(PairError, match="is being restored, or that was broken off"):
            _ = Workspace(company.workspace.places).ledger
    else:
        assert heads(company.lake) == before
        Workspace(company.workspace.places).pairing.check()
    company.restore()
    company.workspace.pairing.check()
    company.now += DAY
    company.run(full=True)
    assert len(company.customers.members("active").to_arrow()) == 3
    assert sorted(each.name for each in company.folder.glob("lake*") if "before" in each.name)


_KINDS: list[Callable[[Path], object]] = [Path.unlink, lambda file: file.write_bytes(b"nonsense")]


@pytest.mark.parametrize("lose", _KINDS, ids=["lost", "damaged"])
def test_a_ledger_that_is_lost_is_put_back(tmp_path: Path, lose: Callable[[Path], object]) -> None:
    """Together with the lake that is there still."""
    company = Restorable(tmp_path, declared())
    company.customer("1")
    company.remind(full=True)
    company.back_up()
    lose(tmp_path / "ledger.db")
    company.restore()
    company.workspace.pairing.check()
    assert company.customers.profile("1", now=company.now).profile_id == 1
