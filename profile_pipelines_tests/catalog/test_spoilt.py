"""A wrong type in one place of a catalogue hides nothing else, and makes no other mistakes up."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from profile_pipelines.catalog.cross_checks import cross_check
from profile_pipelines.catalog.load import read_draft
from profile_pipelines.catalog.mistakes import Mistake
from profile_pipelines.catalog.salvage import related
from profile_pipelines.catalog.yaml_lines import read_yaml
from profile_pipelines.workspace import DEMO_CATALOGUE
from profile_pipelines_tests.catalog.folders import mistakes_in, replaced, write_catalogue
from profile_pipelines_tests.catalog.test_docs import named_examples

Place = tuple[str | int, ...]
WRONG: tuple[Any, ...] = ({"oops": ["x"]}, ["oops", ["x"]])
"""No leaf of a catalogue takes these. (A number or true may stand where a number is wanted.)"""
_PAIRS = 80


class Spoiler:
    """A catalogue whose files are written as data, one key a line."""

    def __init__(self, folder: Path, files: dict[str, str]) -> None:
        self.folder = folder
        self.data = {name: read_yaml(text.encode()).data for name, text in files.items()}
        for name, data in self.data.items():
            self._write(name, data)
        self.leaves = [(name, at) for name, data in self.data.items() for at in _leaves(data)]

    def spoil(self, *places: tuple[str, Place, Any]) -> list[tuple[str, Place, int]]:
        """Put wrong values into some places; each with its line."""
        spoilt = copy.deepcopy(self.data)
        for name, at, wrong in places:
            around = spoilt[name]
            for step in at[:-1]:
                around = around[step]
            around[at[-1]] = wrong
        found: list[tuple[str, Place, int]] = []
        for name in {name for name, _, _ in places}:
            lines = read_yaml(self._write(name, spoilt[name]))
            found += [(name, at, lines.line_of(at)) for each, at, _ in places if each == name]
        return found

    def restore(self, *names: str) -> None:
        """Undo what was spoilt."""
        for name in names:
            self._write(name, self.data[name])

    def mistakes(self) -> list[Mistake]:
        """What is told of the catalogue."""
        draft = read_draft(self.folder)
        cross_check(draft)
        return draft.mistakes

    def _write(self, name: str, data: Any) -> bytes:
        text = yaml.safe_dump(data, sort_keys=False, default_flow_style=False, width=10_000)
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return text.encode()


def _leaves(value: Any, at: Place = ()) -> Iterator[Place]:
    if isinstance(value, dict | list) and value:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for step, each in items:
            yield from _leaves(each, (*at, step))
    else:
        yield at


@pytest.fixture(params=["reference", "demo"])
def spoiler(request: pytest.FixtureRequest, tmp_path: Path) -> Spoiler:
    """The catalogue of docs/catalogue.md, and the demo's: together nearly every kind of key."""
    files = named_examples()
    if request.param == "demo":
        paths = sorted(DEMO_CATALOGUE.rglob("*.yaml"))
        files = {each.relative_to(DEMO_CATALOGUE).as_posix(): each.read_text() for each in paths}
        (tmp_path / "templates").mkdir()
        for each in (DEMO_CATALOGUE / "templates").iterdir():
            (tmp_path / "templates" / each.name).write_text(each.read_text())
    made = Spoiler(tmp_path, files)
    assert made.mistakes() == []
    assert len(made.leaves) > 250
    return made


def _untold(places: list[tuple[str, Place, int]], found: list[Mistake]) -> list[object]:
    """What is wrong with the mistakes: a place that isn't named, or none of ours."""
    unnamed = [
        (name, at, line)
        for name, at, line in places
        if not any(m.file == name and related(m.path, at) and m.line >= line for m in found)
    ]
    made_up = [
        str(m)
        for m in found
        if not any(m.file == name and related(m.path, at) for name, at, _ in places)
    ]
    return [*unnamed, *made_up]


def test_one_wrong_type_is_told_at_its_place_and_nowhere_else(spoiler: Spoiler) -> None:
    """Whichever leaf it is: its line is named, and nothing that follows from it is told."""
    for number, (name, at) in enumerate(spoiler.leaves[:: 1 if len(spoiler.leaves) < 400 else 2]):
        places = spoiler.spoil((name, at, WRONG[number % 2]))
        wrong = _untold(places, spoiler.mistakes())
        spoiler.restore(name)
        assert wrong == [], (name, at)


def test_two_wrong_types_hide_nothing_of_each_other(spoiler: Spoiler) -> None:
    """Any two leaves: both are named, but where one says what the other is part of."""
    chance = random.Random(7)
    for number in range(_PAIRS):
        one, other = chance.sample(spoiler.leaves, 2)
        if _decides(one, other) or _decides(other, one):
            continue
        places = spoiler.spoil((*one, WRONG[number % 2]), (*other, WRONG[1 - number % 2]))
        wrong = _untold(places, spoiler.mistakes())
        spoiler.restore(one[0], other[0])
        assert wrong == [], (one, other)


def _decides(one: tuple[str, Place], other: tuple[str, Place]) -> bool:
    """Whether `one` says which keys there are around `other`: a connection's type, a system's."""
    return (
        one[0] == other[0] and one[1][-1] == "type" and one[1][:-1] == other[1][: len(one[1]) - 1]
    )


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("table: contacts", "table: contacts\n    schedule: */15 * * * *",
         'sources/crm.yaml:7: syncs.contacts.schedule: needs quotes, since YAML has a meaning of '
         'its own for the *: "*/15 * * * *"'),
        ("tier: tier", "tier: {field: tier, schedule: */5 8,20 * * *}",
         'sources/crm.yaml:9: syncs.contacts.attributes.tier.schedule: needs quotes, since YAML '
         'has a meaning of its own for the *: "*/5 8,20 * * *"'),
        ("url: {env: CRM_URL}", "url: ${CRM_URL}",
         "sources/crm.yaml:3: connection.url: isn't filled in here; write {env: CRM_URL}"),
        ("{type: sql, url: {env: CRM_URL}}", "\n  type: sql\n  url: {{ env_var('CRM_URL') }}",
         "sources/crm.yaml:5: connection.url: isn't filled in here; write {env: CRM_URL}"),
        ("{env: CRM_URL}", '"{{ env_var(\'CRM_URL\', \'\') }}"',
         "sources/crm.yaml:3: connection.url: isn't filled in here; write {env: CRM_URL}"),
        ("{env: CRM_URL}", "postgresql://${DB_HOST}/crm",
         "sources/crm.yaml:3: connection.url: isn't filled in here; write the whole value as "
         "{env: DB_HOST}"),
        ("{env: CRM_URL}", "db.example.com/crm",
         "sources/crm.yaml:3: connection.url: must begin with a scheme, for example "
         "postgresql://reader@db.example.com/crm"),
        ("table: contacts", "table: true",
         "sources/crm.yaml:6: syncs.contacts.table: must be text; put it in quotes"),
        ("table: contacts", "table: 12",
         "sources/crm.yaml:6: syncs.contacts.table: must be text; put it in quotes"),
        ("table: contacts", "table: contacts\n    table: people",
         "sources/crm.yaml:7: syncs.contacts.table: stands here twice, first on line 6; keep one"),
        ("    table: contacts", "\ttable: contacts",
         "sources/crm.yaml:6: this isn't valid YAML: a tab or a special character; use spaces, or "
         "quotes"),
        ("type: sql", "type: postgres",
         "sources/crm.yaml:3: connection.type: must be sql, rest, files or custom, or a preset of "
         "`profile-pipelines sources`; did you mean sql?"),
    ],
)  # fmt: skip
def test_what_others_write_gets_one_sentence_with_the_cure(
    tmp_path: Path, old: str, new: str, told: str
) -> None:
    """Cron without quotes, other tools' variables, an address without its scheme, and so on."""
    assert mistakes_in(write_catalogue(tmp_path, **replaced("sources/crm.yaml", old, new))) == [
        told
    ]


@pytest.mark.parametrize(
    ("word", "near"),
    [("text", "string"), ("int", "integer"), ("float", "decimal"), ("bool", "boolean"),
     ("datetime", "timestamp"), ("array", "list"), ("strng", "string")],
)  # fmt: skip
def test_other_words_for_types_are_understood(tmp_path: Path, word: str, near: str) -> None:
    """And what they're called here is asked back."""
    files = replaced("attributes.yaml", "type: string", f"type: {word}")
    [told] = mistakes_in(write_catalogue(tmp_path, **files))
    assert told.startswith("attributes.yaml:2: tier.type: must be string, integer")
    assert told.endswith(f"did you mean {near}?")


def test_a_name_of_an_attribute_and_an_identifier_is_refused(tmp_path: Path) -> None:
    """Nobody could tell which of them a template or a destination means."""
    files = {
        "identifiers.yaml": "email: {normalise: [email]}\ntier: {}\n",
    }
    assert mistakes_in(write_catalogue(tmp_path, **files)) == [
        "attributes.yaml:1: tier: is the name of an identifier, too; choose another for one of them"
    ]


def test_a_flaw_hides_no_unknown_name(tmp_path: Path) -> None:
    """In the same file and in others that speak of it: everything is told at once."""
    files = replaced("sources/crm.yaml", "table: contacts", "table: [x]")
    files["sources/crm.yaml"] = files["sources/crm.yaml"].replace("points: points", "pints: p")
    files["attributes.yaml"] = """\
tier: {type: strung, sources: [crm, bling], fresh_within: 24h}
points: {type: integer, sources: [crm], fresh_within: [1]}
"""
    files["audiences/rich.yaml"] = """\
audience: rich
owner: [x]
where: {all: [{tier: {is: gold}}, {pints: {is: 1}}, {in_audience: poor}]}
"""
    assert mistakes_in(write_catalogue(tmp_path, **files)) == [
        "attributes.yaml:1: tier.sources[1]: unknown system bling; there is only crm",
        "attributes.yaml:1: tier.type: must be string, integer, decimal, boolean, date, timestamp "
        "or list; did you mean string?",
        "attributes.yaml:2: points.fresh_within: must be a duration, for example 90m, 24h or 30 "
        "days",
        "audiences/rich.yaml:2: owner: must be text; put it in quotes",
        "audiences/rich.yaml:3: where.all[1].pints: unknown attribute pints",
        "audiences/rich.yaml:3: where.all[2].in_audience: unknown audience poor; there is only "
        "rich",
        "sources/crm.yaml:6: syncs.contacts.table: must be text; put it in quotes",
        "sources/crm.yaml:10: syncs.contacts.attributes.pints: unknown attribute; did you mean "
        "points?",
    ]
