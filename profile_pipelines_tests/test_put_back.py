"""Whatever is put back from a copy, no number stands for two customers, no opt-out is lost, and
nothing goes out twice without somebody's word."""

from __future__ import annotations

import asyncio
import email
import email.policy
import shutil
from datetime import timedelta
from pathlib import Path

import dagster as dg
import httpx
import pytest
from starlette.applications import Starlette

from profile_pipelines import journey_steps, pipeline
from profile_pipelines.adoption import PUT_BACK, adopt
from profile_pipelines.cli.main import main
from profile_pipelines.consent.unsubscribe_links import KEY, URL, UnsubscribeLinks
from profile_pipelines.errors import PairError
from profile_pipelines.orchestration.run import run_in_process
from profile_pipelines.webhooks.server import Limits
from profile_pipelines.webhooks.unsubscribe import unsubscribe_route
from profile_pipelines.workspace import Standing, Workspace
from profile_pipelines_tests.company import HOUR
from profile_pipelines_tests.privacy.reminders import Reminders, declared
from profile_pipelines_tests.webhooks.conftest import served

pytestmark = pytest.mark.xdist_group("put back")
LINKS = UnsubscribeLinks("https://mail.example.org", "k" * 32)
COPIES = ("first", "second", "newest")
HALVES = {"lake": "lake", "ledger": "ledger.db"}


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Customers 1 and 2 were written to; the `first` copies were taken; then 3 and the `second`
    copies; then 4."""
    folder = tmp_path_factory.mktemp("copied") / "own"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(URL, LINKS.url)
        patched.setenv(KEY, LINKS.key)
        company = Reminders(folder, declared(("crm",)))
        for keys, name in (("12", "first"), ("3", "second"), ("4", "")):
            for key in keys:
                company.customer(key)
            assert company.remind(full=True).total("sent") == len(keys)
            if name:
                shutil.copytree(folder / "lake", folder / name / "lake")
                shutil.copy(folder / "ledger.db", folder / name / "ledger.db")
    return folder


@pytest.fixture
def company(copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reminders:
    """A copy of all that, three hours after it began."""
    monkeypatch.setenv(URL, LINKS.url)
    monkeypatch.setenv(KEY, LINKS.key)
    shutil.copytree(copied, tmp_path / "own")
    company = Reminders(tmp_path / "own", declared(("crm",)))
    company.now += 3 * HOUR
    return company


def _put_back(company: Reminders, half: str, what: str) -> None:
    """One half as a copy has it, or none at all."""
    place = company.folder / HALVES[half]
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)
    if what in COPIES:
        found = company.folder / what / HALVES[half]
        if found.is_dir():
            shutil.copytree(found, place)
        else:
            shutil.copy(found, place)
    company.declare(company.declared)


def _numbers(company: Reminders) -> tuple[dict[str, int], dict[str, str], set[str]]:
    """By customer the profile, by message the customer's address, and the enrolments' numbers."""
    people = company.customers.profiles().to_arrow().to_pylist()
    profiles = {row["email"][0]: row["profile_id"] for row in people}
    mails = {path.stem: _mail(path)[0] for path in (company.folder / "outbox").rglob("*.eml")}
    ids = {path.split(".")[2] for path in mails}
    return profiles, mails, ids


def _mail(path: Path) -> tuple[str, str]:
    """To whom a mail went, and its link to unsubscribe."""
    mail = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
    return str(mail["To"]), str(mail["List-Unsubscribe"])


STATES = [
    ("first", ""), ("", "first"), ("lost", ""), ("", "lost"), ("lost", "first"), ("first", "lost"),
    ("first", "second"), ("second", "first"), ("first", "first"),
]  # fmt: skip
"""What stands in place of lake and ledger: a copy, nothing, or what was there."""


@pytest.mark.parametrize(("lake", "ledger"), STATES)
def test_nothing_is_given_out_twice(company: Reminders, lake: str, ledger: str) -> None:
    """Each half as it is, older, older still, or lost: no profile's number, no message's key names
    another customer than before, no link unsubscribes one, and nothing is sent before
    somebody says so."""
    profiles, mails, enrolments = _numbers(company)
    links = {_mail(path) for path in (company.folder / "outbox").rglob("*.eml")}
    for half, what in (("lake", lake), ("ledger", ledger)):
        if what:
            _put_back(company, half, what)
    if lake == ledger:  # a healthy pair of the past: only people know
        assert adopt(company.workspace, now=company.now) is None
        assert adopt(company.workspace, now=company.now, put_back=PUT_BACK) == PUT_BACK
    else:
        with pytest.raises(PairError):
            _ = company.workspace.ledger
        assert adopt(company.workspace, now=company.now)
    company.declare(company.declared)
    # who isn't in the copies goes before they are read anew, and others come
    for key in "34":
        company.remove("crm", key)
    for key in "567":
        company.customer(key)
    done = company.remind(full=True)
    assert done.total("sent") == 0
    assert done.kept_back >= 3
    assert list(done.needs_a_word) == ["Kept back"]
    space = Workspace(company.workspace.places)
    assert journey_steps.journey_status(space, "daily", now=company.now).kept_back
    _, unsent, _ = _numbers(company)
    assert unsent == mails

    pair = space.ledger.pair
    assert pair.settle([each.number for each in pair.unsettled()], now=company.now) == 1
    assert company.remind().total("sent") >= 3
    after, sent, numbers = _numbers(company)
    assert {f"c{key}@example.com" for key in "567"} <= after.keys()
    taken = {number: address for address, number in profiles.items()}
    assert {taken.get(number, address) for address, number in after.items()} == after.keys()
    assert mails.items() <= sent.items()
    if lake != ledger and "" in (lake, ledger):
        assert len(numbers - enrolments) >= 3

    before = dict(after)
    for address, link in links:
        _click(company, link)
        silent = _silent(company)
        assert silent <= {before.get(address, 0), *taken.keys() - set(before.values())}, address
        _forget(company)


def _click(company: Reminders, link: str) -> None:
    route = unsubscribe_route(LINKS, lambda: company.workspace.ledger, lambda: company.now)

    async def click() -> int:
        transport = httpx.ASGITransport(Starlette(routes=[route]))
        async with httpx.AsyncClient(transport=transport, base_url=LINKS.url) as client:
            return (await client.post(link.strip("<>"))).status_code

    assert asyncio.run(click()) == 200


def _silent(company: Reminders) -> set[int]:
    return company.workspace.ledger.unsubscribes.of("email")


def _forget(company: Reminders) -> None:
    """Take the last click back."""
    for profile_id in _silent(company):
        company.workspace.ledger.unsubscribes.restore(
            profile_id, "email", by="test", because="test", now=company.now
        )


def test_a_past_that_nobody_told_of_names_nobody_else(company: Reminders) -> None:
    """Both halves of one copy, without a word: numbers are given anew then, but no message's key
    and no link of the past that was lost is taken for another customer's."""
    _, mails, _ = _numbers(company)
    lost = {_mail(path) for path in (company.folder / "outbox").rglob("*.eml")}
    for half in HALVES:
        _put_back(company, half, "first")
    for key in "34":
        company.remove("crm", key)
    for key in "56":
        company.customer(key)
    assert company.remind(full=True).total("sent") == 2
    after, sent, _ = _numbers(company)
    assert mails.items() <= sent.items()
    for address, link in lost:
        _click(company, link)
        assert _silent(company) <= {after.get(address, 0)}, address
        _forget(company)
    # the address itself gets nothing any more, whoever has it then
    company.customer("3")
    company.now += timedelta(days=1)
    assert company.remind(full=True).counts["drop", "skipped", "suppressed"] == 3


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("what", ["first", "lost"])
def test_a_process_that_runs_on_notices(company: Reminders, half: str, what: str) -> None:
    """Each step of a workspace that was opened before refuses a half that was replaced."""
    space, now = company.workspace, company.now
    company.remind()
    _put_back(company, half, what)
    before = {path: path.read_bytes() for path in company.folder.rglob("*") if path.is_file()}
    for step in (
        lambda: pipeline.resolve_identities(space, now=now, run_id="r"),
        lambda: journey_steps.tick_journey(space, "daily", now=now),
        lambda: journey_steps.dispatch(space, clock=lambda: now),
    ):
        with pytest.raises(PairError, match="meanwhile"):
            step()
    after = {path: path.read_bytes() for path in company.folder.rglob("*") if path.is_file()}
    assert after == before


def test_the_receiver_writes_to_the_ledger_that_is_there(company: Reminders) -> None:
    """One that was put in place of the one it opened, never to the one that is gone; and to none
    that doesn't go with the lake."""
    places = company.workspace.places
    current = Standing(lambda: Workspace(places))
    route = unsubscribe_route(LINKS, lambda: current().ledger, lambda: company.now)
    shutil.copytree(company.folder / "lake", company.folder / "newest" / "lake")
    shutil.copy(company.folder / "ledger.db", company.folder / "newest" / "ledger.db")

    def unsubscribed(profile_id: int) -> int:
        return httpx.post(f"{url}/unsubscribe/{_token(profile_id)}").status_code

    with served(Starlette(routes=[route]), Limits()) as url:
        assert unsubscribed(1) == 200
        pair = company.folder / "lake" / "pair.json"
        content = pair.read_bytes()
        pair.write_text("{")  # the lake can't be read for a while
        assert unsubscribed(1) == 200
        pair.write_bytes(content)
        assert unsubscribed(1) == 200
        _put_back(company, "ledger", "first")
        assert unsubscribed(2) == 503
        _put_back(company, "lake", "first")  # a healthy pair of the past
        assert _silent(company) == set()
        assert unsubscribed(2) == 200
        assert _silent(company) == {2}
        _put_back(company, "lake", "lost")
        assert unsubscribed(1) == 503
        for half in HALVES:
            _put_back(company, half, "newest")
        assert _silent(company) == set()
        assert unsubscribed(1) == 200
        assert _silent(company) == {1}


def _token(profile_id: int) -> str:
    return LINKS.link(profile_id, "email").rpartition("/")[2]


def test_dagster_tells_what_is_kept_back(company: Reminders, tmp_path: Path) -> None:
    """By a check of the outbox, which fails the run, until somebody lets the messages go."""
    _put_back(company, "ledger", "first")
    adopt(company.workspace, now=company.now)
    company.declare(company.declared)
    space, home = company.workspace, tmp_path / "dagster"
    home.mkdir()
    for number in range(2):
        due = pipeline.due_syncs(space, company.now, everything=True)
        instance = dg.DagsterInstance.local_temp(str(home))
        report = run_in_process(space, due, now=company.now, instance=instance)
        assert not report.errors
        [run] = dg.DagsterInstance.local_temp(str(home)).get_runs(limit=1)
        assert (list(report.needs_a_word), run.is_success) == (
            ([], True) if number else (["Kept back"], False)
        )
        pair = space.ledger.pair
        pair.settle([each.number for each in pair.unsettled()], now=company.now)


def test_a_lake_that_was_lost_can_be_read_before_it_is_filled(
    company: Reminders, capsys: pytest.CaptureFixture[str]
) -> None:
    """Between `adopt` and the next run it is a lake without customers."""
    _put_back(company, "lake", "lost")
    at = ["--catalog", company.folder / "catalog", "--lake", company.lake]
    at += ["--ledger", company.ledger]
    assert main(["profile", "show", "c1@example.com", *map(str, at)]) == 5
    for words in (
        "adopt", "adopt", "profile show c1@example.com",
        "profiles export", "audience list", "audience members active", "journey status daily",
        "journey test daily", "consent history c1@example.com", "freshness", "outbox send",
        "outbox status", "outbox settle", "outbox settle --kept-back", "outbox settle --release",
    ):  # fmt: skip
        code = main([*words.split(), *map(str, at)])
        assert code in (0, 3), (words, code, capsys.readouterr())
