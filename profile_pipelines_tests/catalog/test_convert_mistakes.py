"""Steps that can't be, or can't lead to the attribute's type, are mistakes at their line."""

from __future__ import annotations

from pathlib import Path

import pytest

from profile_pipelines_tests.catalog.folders import (
    VALID,
    attr,
    crm,
    mistakes_in,
    sources,
    write_catalogue,
)

AT = "sources/crm.yaml:9: syncs.contacts.attributes.tier"
STEPS = (
    "a step is trim, lower, upper, first, last, {map: …}, {default: …}, {replace: …}, "
    "{extract: …}, {split: …}, {join: …}, {pad: …}, {date: …}, {timestamp: …}, {minor_units: …} or "
    "{number: …}"
)


def _mistakes(folder: Path, steps: str, kind: str = "string") -> list[str]:
    files = crm("tier: tier", f"tier: {{field: tier, convert: {steps}}}")
    return mistakes_in(write_catalogue(folder, **files, **attr("type: string", f"type: {kind}")))


@pytest.mark.parametrize(
    ("steps", "kind", "expected"),
    [
        ("[lowr]", "string", f"convert[0]: isn't a step; {STEPS}; did you mean lower?"),
        ("[{spit: x}]", "string", f"convert[0]: isn't a step; {STEPS}; did you mean split?"),
        ("[[lower]]", "string", f"convert[0]: isn't a step; {STEPS}"),
        ("[split]", "string", "convert[0]: needs its argument: {split: …}"),
        ("[{lower: x}]", "string", "convert[0]: takes no argument; write just lower"),
        ("lower", "string", "convert: must be a list, for example [a, b]"),
        ("[{split: ''}]", "list", "convert[0].split: is empty; write the text"),
        ("[{split: 1}]", "list", "convert[0].split: must be text; put it in quotes"),
        ("[{map: {}}]", "string", "convert[0].map: is empty; at least one entry is needed"),
        (
            "[{map: {a: [b]}}]",
            "string",
            "convert[0].map.a: must be a text, a number, true, false, a date or null",
        ),
        (
            "[{map: {a: b}, otherwis: c}]",
            "string",
            "convert[0].otherwis: unknown key; did you mean otherwise?",
        ),
        (
            "[{date: '%d.%m'}]",
            "date",
            "convert[0].date: needs a year, a month and a day, such as %d.%m.%Y",
        ),
        (
            "[{date: '%d.%m.%Y %k'}]",
            "date",
            (
                "convert[0].date: has %k, which isn't read; the parts are %Y %y %m %b %B %d %H "
                "%I %p %M %S %.f %z %%"
            ),
        ),
        (
            "[{date: european}]",
            "date",
            (
                "convert[0].date: isn't a format; write iso, epoch, epoch_ms, excel or a format "
                "such as %d.%m.%Y"
            ),
        ),
        (
            "[{timestamp: '%d.%m.%Y'}]",
            "timestamp",
            (
                "convert[0].timestamp: needs hour and minute, such as %d.%m.%Y %H:%M; for a day "
                "take date"
            ),
        ),
        (
            "[{timestamp: iso, zone: Berlin}]",
            "timestamp",
            "convert[0].zone: is no time zone; write for example Europe/Berlin",
        ),
        (
            "[{minor_units: EUO}]",
            "decimal",
            (
                "convert[0].minor_units: is no currency's code; write for example EUR, or the "
                "number of digits"
            ),
        ),
        (
            "[{minor_units: 5}]",
            "decimal",
            (
                "convert[0].minor_units: must be between 0 and 4, the digits that a decimal has "
                "after the point"
            ),
        ),
        (
            "[{number: comma}]",
            "decimal",
            "convert[0].number: must be decimal_comma or decimal_point",
        ),
        (
            "[{extract: '(?<=a)b'}]",
            "string",
            (
                "convert[0].extract: look-around and back-references aren't read; write a plain "
                "regular expression"
            ),
        ),
        (
            "[{default: null}]",
            "string",
            ("convert[0].default: has no value; leave the step out where the value may be missing"),
        ),
        (
            "[{split: ','}]",
            "string",
            (
                "convert[0]: leads to a list, but the attribute's type is string; add first, last "
                "or {join: …}"
            ),
        ),
        (
            "[{date: iso}]",
            "integer",
            "convert[0]: leads to a date, but the attribute's type is integer",
        ),
        (
            "[{date: iso}, lower]",
            "date",
            "convert[1]: takes text, and date gives a date; put lower before it",
        ),
        (
            "[lower, first]",
            "string",
            "convert[1]: takes a list, and here is a text; put {split: …} before first",
        ),
        (
            "[{split: ','}, {date: iso}]",
            "date",
            (
                "convert[1]: takes one text, and here is a list; put first, last or {join: …} "
                "before date"
            ),
        ),
        (
            "[{map: {a: 1, b: two}}]",
            "integer",
            "convert[0].map.b: must be a whole number, for example 100",
        ),
        (
            "[{map: {a: 1}}, {default: none}]",
            "integer",
            "convert[1].default: must be a whole number, for example 100",
        ),
    ],
)
def test_steps(tmp_path: Path, steps: str, kind: str, expected: str):
    """Exactly one line says what is wrong with the step and what would be right."""
    assert _mistakes(tmp_path, steps, kind) == [f"{AT}.{expected}"]


def test_mapped_words_are_valid_values(tmp_path: Path):
    """A map that leads to a value which the attribute refuses could only fill the quarantine."""
    rule = "type: string\n  valid: {in: [gold, silver]}"
    files = crm("tier: tier", "tier: {field: tier, convert: [{map: {g: glod}}]}")
    assert mistakes_in(write_catalogue(tmp_path, **files, **attr("type: string", rule))) == [
        f"{AT}.convert[0].map.g: isn't among the attribute's valid values; did you mean gold?"
    ]


def test_a_wildcard_leads_to_a_list(tmp_path: Path):
    """A path through [*] needs a step that makes one text of its list."""
    files = crm("tier: tier", 'tier: "tiers[*].name"')
    assert mistakes_in(write_catalogue(tmp_path, **files)) == [
        f"{AT}: leads to a list, but the attribute's type is string; add first, last or {{join: …}}"
    ]


@pytest.mark.parametrize("rest", ["[", "[]", "[x]", ".[0]", "b", "[id=]", ".a]"])
def test_a_malformed_path(tmp_path: Path, rest: str):
    """Brackets that lead nowhere are a mistake where they have a meaning."""
    api = sources("{type: rest, base_url: 'https://x'}", "path: /contacts")
    text = api["sources/crm.yaml"].replace("tier: tier", f'tier: "tags[0]{rest}"')
    [found] = mistakes_in(write_catalogue(tmp_path, **{"sources/crm.yaml": text}))
    assert found.startswith(AT)
    assert found.endswith(
        "; write for example tags[*].name, items[0].id or custom_fields[id=1234].value"
    )


def test_columns_may_bear_brackets(tmp_path: Path):
    """A column's name is taken as it is."""
    assert mistakes_in(write_catalogue(tmp_path, **crm("tier: tier", 'tier: "tier [EUR]"'))) == []
    assert "tier [EUR]" not in VALID["sources/crm.yaml"]


@pytest.mark.parametrize(
    ("mapped", "at", "one"),
    [
        ("identifiers: {email: 'mails[*].at'}", "identifiers.email", "mails[0].at"),
        ("key: 'ids[*]'", "key", "ids[0]"),
        ("updated_at: 'a[*].b[*]'", "updated_at", "a[0].b[0]"),
    ],
)
def test_a_path_to_a_list_is_a_mistake_where_one_value_is_needed(
    tmp_path: Path, mapped: str, at: str, one: str
) -> None:
    """The message says what to write instead; a step that picks one is no mistake."""
    old = "identifiers: {email: email}" if at.startswith("identifiers") else "attributes:"
    new = mapped if at.startswith("identifiers") else f"{mapped}\n    attributes:"
    (found,) = mistakes_in(write_catalogue(tmp_path, **crm(old, new)))
    assert found.endswith(
        f"syncs.contacts.{at}: leads to a list, and one value is needed; write {one}, "
        "or convert: [first]"
    )
    path = mapped.split("'")[1]
    picked = new.replace(f"'{path}'", f"{{field: '{path}', convert: [first]}}")
    assert mistakes_in(write_catalogue(tmp_path, **crm(old, picked))) == []


@pytest.mark.parametrize(
    ("control", "expected"),
    [
        (
            "key: {field: no, convert: [{split: ','}]}",
            "key.convert[0]: leads to a list, and one value is needed; add first, last or "
            "{join: …}",
        ),
        (
            "updated_at: {field: at, convert: [{timestamp: iso}, lower]}",
            "updated_at.convert[1]: takes text, and timestamp gives a timestamp; put lower before "
            "it",
        ),
        (
            "deleted: {field: gone, convert: [{pad: {with: x}}]}",
            "deleted.convert[0].pad.to: is missing; write for example to: 5",
        ),
        (
            "key: {field: no, convert: [{date: '%d.%m.%Y', pivot: 30}]}",
            "key.convert[0].pivot: goes with %y, a year of two digits; take it out",
        ),
        ("zone: Europe/Berln", "zone: is no time zone; did you mean Europe/Berlin?"),
    ],
)
def test_steps_of_control_fields(tmp_path: Path, control: str, expected: str) -> None:
    """They follow from each other, and lead to one value; a zone is one."""
    files = crm("table: contacts", f"table: contacts\n    {control}")
    [found] = mistakes_in(write_catalogue(tmp_path, **files))
    assert found.partition("syncs.contacts.")[2] == expected
