"""Mistakes in a command are told with what would be right, and end with the code of their kind."""

from __future__ import annotations

import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from profile_pipelines.catalog.json_schema import FILE_KINDS
from profile_pipelines.workspace import DEMO_CATALOGUE
from profile_pipelines_tests.cli.conftest import Command

pytestmark = pytest.mark.xdist_group("cli")


def _long_ago() -> str:
    return (datetime.now(UTC) - timedelta(days=1)).isoformat()


def test_ticks_of_a_replay_lie_apart(command: Command, home: Path) -> None:
    """No time between two ticks would be a replay without an end; very much is one of two ticks."""
    replay = ("journey", "simulate", "renewal_reminder", "--from", _long_ago())
    for every in ("0s", "-1d"):
        done = command(*replay, "--every", every)
        assert done.code == 2
        assert "for example" in done.err
    done = command(*replay, "--every", "999999999 days", "--json")
    assert done.code == 0, done.err
    assert len(done.json["ticks"]) == 2


@pytest.fixture
def with_design(home: Path, tmp_path: Path) -> Path:
    """The demo's catalogue, where the offer has a design and the reminder hasn't."""
    folder = tmp_path / "designed"
    shutil.copytree(DEMO_CATALOGUE, folder)
    (folder / "templates" / "renewal_offer.html").write_text("<p>An offer</p>")
    return folder


def _previewing(catalogue: Path, home: Path, template: str) -> tuple[object, ...]:
    places = ("--catalog", catalogue, "--lake", home / "lake")
    ledger = ("--ledger", f"sqlite:///{home / 'ledger.db'}")
    return (*places, *ledger, "outbox", "preview", template, "--for", "profile 1")


def test_a_preview_without_html_is_told(
    command: Command, home: Path, with_design: Path, tmp_path: Path
) -> None:
    """Where there is no HTML to write, or no place for it, the command says so and fails."""
    file = tmp_path / "mail.html"
    done = command(*_previewing(with_design, home, "renewal_reminder"), "--html", file)
    assert done.code == 2
    assert "renewal_reminder has no HTML" in done.err
    assert not file.exists()
    nowhere = tmp_path / "nowhere" / "mail.html"
    done = command(*_previewing(with_design, home, "renewal_offer"), "--html", nowhere)
    assert done.code == 2
    assert f"{nowhere} can't be written: No such file or directory" in done.err


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
def test_a_preview_writes_html(
    command: Command, home: Path, with_design: Path, tmp_path: Path, form: list[str]
) -> None:
    """The HTML is written whichever way the rest is shown."""
    file = tmp_path / "mail.html"
    done = command(*_previewing(with_design, home, "renewal_offer"), "--html", file, *form)
    assert done.code == 0, done.err
    assert file.read_text() == "<p>An offer</p>"
    assert str(file) in done.err
    assert done.out


@pytest.mark.parametrize(
    ("name", "like"),
    [
        ("Bad Name", "bad_name"),
        ("stripe-EU", "stripe_eu"),
        ("9lives", "stripe_eu"),
        ("", "stripe_eu"),
        ("a__b", "a_b"),
    ],
)
def test_a_bad_name_writes_nothing(command: Command, tmp_path: Path, name: str, like: str) -> None:
    """A name that `check` would refuse is refused before a file is written, with a good one."""
    done = command("init", "--source", "stripe", "--name", name, "mine")
    assert done.code == 2
    assert like in done.err
    assert not (tmp_path / "mine").exists()


def test_options_without_their_partner(command: Command, home: Path, tmp_path: Path) -> None:
    """An option that would have no effect is told with the one that it needs."""
    done = command("init", "--name", "foo", "mine")
    assert done.code == 2
    assert "--source" in done.err
    assert not (tmp_path / "mine").exists()
    done = command("check", "--sample", 5)
    assert done.code == 2
    assert "--live" in done.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("freshness", "--now", "0001-01-01"),
        ("freshness", "--now", "9999-12-31T23:59:59-12:00"),
        ("profile", "show", "profile 1", "--as-of", "0001-01-01"),
        ("journey", "status", "renewal_reminder", "--days", "400", "--now", "9999-12-31"),
    ],
)
def test_moments_beyond_reach(command: Command, home: Path, arguments: tuple[str, ...]) -> None:
    """Moments that no calendar can be reckoned from are told with the years that there are."""
    done = command(*arguments)
    assert done.code == 2
    assert "1900 to 2999" in done.err.replace("\n", " ")
    for year in ("1900-01-01", "2999-12-31"):
        reached = command(*arguments[:-1], year)
        assert reached.code in (0, 3) or "lies in the future" in reached.err


def test_help_names_every_kind_of_file(command: Command) -> None:
    """`schema` takes each kind that its help and the page tell of, and there is no other."""
    told = " ".join(command("schema", "--help").out.split())
    page = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text()
    sentence = page.partition("`schema KIND` takes")[2].partition(".")[0]
    assert set(re.findall(r"`(\w+)`", sentence)) == set(FILE_KINDS)
    for kind in FILE_KINDS:
        assert re.search(rf"\b{kind}\b", told)
        assert command("schema", kind).code == 0


def test_a_file_of_people_to_erase(command: Command, home: Path, tmp_path: Path) -> None:
    """A byte-order mark is no part of the first identifier; a file without any says so."""
    email = command("profile", "show", "profile 1", "--json").json[0]["identifiers"]["email"][0]
    file = tmp_path / "people.txt"
    file.write_text(f"{email}\n", encoding="utf-8-sig")
    done = command("erase", "--file", file, "--dry-run")
    assert done.code == 0, done.err
    assert done.out.startswith("1 profile with ")
    file.write_text("# nobody\n\n", encoding="utf-8-sig")
    done = command("erase", "--file", file, "--dry-run")
    assert done.code == 2
    assert f"{file} names nobody" in done.err


def test_certificates_are_all_or_none(command: Command, home: Path) -> None:
    """Without any erasure that is said; whom to erase isn't passed over."""
    assert "Nobody was erased" in command("erase", "--list").out
    assert command("erase", "--list", "--json").json == []
    done = command("erase", "profile 1", "--list")
    assert done.code == 2
    assert "--list" in done.err


def test_one_is_told_as_one(command: Command, home: Path, tmp_path: Path) -> None:
    """Numbers of one have no plural."""
    assert command("init", "--source", "stripe", "mine").code == 0
    done = command("check", "--catalog", "mine")
    assert "(1 system, 2 syncs, " in done.out
