"""Tables show every column and every cell, however narrow the screen is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from profile_pipelines_tests.cli.conftest import Command

pytestmark = pytest.mark.xdist_group("cli")

_LONG = "x" * 58


@pytest.fixture
def long_names(tmp_path: Path) -> Path:
    """A catalogue with two attributes of 60 letters."""
    folder = tmp_path / "long"
    (folder / "sources").mkdir(parents=True)
    (folder / "identifiers.yaml").write_text("customer_id: {}\n")
    (folder / "attributes.yaml").write_text(
        "".join(
            f"{name}: {{type: string, sources: [crm], fresh_within: 24h}}\n"
            for name in (f"{_LONG}_a", f"{_LONG}_b")
        )
    )
    (folder / "sources" / "crm.yaml").write_text(
        "system: crm\nkind: crm\nconnection: {type: sql, url: 'sqlite:///crm.db'}\n"
        "syncs:\n  contacts:\n    table: contacts\n    key: id\n"
        "    identifiers: {customer_id: customer_no}\n    updated_at: changed_at\n"
        f"    attributes: {{{_LONG}_a: a, {_LONG}_b: b}}\n"
    )
    return folder


def test_a_pipe_gets_whole_lines(command: Command, long_names: Path) -> None:
    """Off a terminal a row is one line, whatever its length."""
    shown = command("freshness", "--catalog", long_names, "--lake", "lake")
    assert shown.code == 0, shown.err
    heading, *rows = shown.out.splitlines()
    assert heading.split() == ["attribute", "system", "synced", "age", "fresh", "within"]
    assert rows[0].split() == [f"{_LONG}_a", "crm", "–", "never", "1d", "stale"]
    assert rows[1].split() == [f"{_LONG}_b", "crm", "–", "never", "1d", "stale"]


@pytest.mark.parametrize("columns", ["20", "60", "80"])
@pytest.mark.parametrize(
    "arguments",
    [
        ("profile", "show", "profile 1", "--history"),
        ("freshness",),
        ("consent", "history", "profile 1"),
        ("quarantine", "--records"),
        ("audience", "members", "email_reachable"),
        ("journey", "status", "renewal_reminder"),
        ("journey", "test", "renewal_reminder"),
        ("outbox", "list"),
        ("destination", "list"),
    ],
    ids=" ".join,
)
def test_narrow_screens_lose_nothing(
    command: Command,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    columns: str,
) -> None:
    """All that a wide screen shows is there; where a terminal has 80 signs, in lines that fit."""
    if arguments[0] in ("profile", "freshness", "consent", "journey"):
        arguments += ("--now", "2040-01-01")
    monkeypatch.setenv("COLUMNS", "90")  # below which times of change are told by the day
    wide = command(*arguments).out
    monkeypatch.setenv("COLUMNS", columns)
    narrow = command(*arguments).out
    assert _signs(narrow) == _signs(wide)
    if columns == "80":
        tables = [line for line in narrow.splitlines() if "version 1" not in line]
        assert max(map(len, tables)) <= 80


def test_no_columns_are_as_none_told(
    command: Command, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A screen of no signs, or of none that are a number, is no reason to show nothing."""
    shown = command("audience", "list").out
    for columns in ("0", "00", "", "many"):
        monkeypatch.setenv("COLUMNS", columns)
        assert command("audience", "list").out == shown


def test_words_stay_whole_where_there_is_room(
    command: Command, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a screen of 60 signs states, ages and headings can be read, not letter by letter."""
    monkeypatch.setenv("COLUMNS", "60")
    fresh = command("freshness").out
    assert re.search(r"^contract_end_date +billing .* +\d+[smh] +2h +fresh$", fresh, re.MULTILINE)
    replay = command("journey", "test", "renewal_reminder").out
    for heading in ("active", "entered", "exited", "completed", "converted", "messages", "held"):
        assert re.search(rf"\b{heading}\b", replay)


def _signs(shown: str) -> dict[str, int]:
    """How often each sign but spaces is shown."""
    return {sign: shown.count(sign) for sign in sorted(set(shown)) if not sign.isspace()}
