"""What customers read: every filter of templates with a value of every type, and with none."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from profile_pipelines.catalog.message_templates import MessageTemplate, environment, read_templates
from profile_pipelines.channels.rendering import Rendering
from profile_pipelines.errors import RenderingError

SYDNEY = ZoneInfo("Australia/Sydney")
NOW = datetime(2027, 6, 9, 20, tzinfo=UTC)
VALUES: dict[str, Any] = {
    "name": "ada l",
    "points": 7,
    "balance": Decimal("99.5000"),
    "opted_in": True,
    "ends": date(2027, 6, 15),
    "visit": datetime(2027, 6, 14, 23, tzinfo=UTC),
    "things": ["phone", "tv"],
    "nothing": None,
    "none_of_them": [],
}
_NO = None
"""The message is refused: the filter makes no sense of such a value."""
_MOMENT = "2027-06-15 09:00"
_AS_READ = ("ada l", "7", "99.5", "true", "2027-06-15", _MOMENT, "phone, tv")
_OF_LISTS: tuple[str | None, ...] = (_NO, _NO, _NO, _NO, _NO)
FILTERS: dict[str, tuple[str | None, ...]] = {
    "abs": (_NO, "7", "99.5", "1", _NO, _NO, _NO),
    "attr('x')": ("", "", "", "", "", "", ""),
    "batch(2)": ("a, d, a,  , l", *_OF_LISTS, "phone, tv"),
    "capitalize": ("Ada l", "7", "99.5", "True", "2027-06-15", _MOMENT, "Phone, tv"),
    "center(8)": (" ada l  ", "   7    ", "  99.5  ", "  true  ", *_AS_READ[4:]),
    "count": ("5", *_OF_LISTS, "2"),
    "date": ("", "", "", "", "15 June 2027", "15 June 2027", ""),
    "date('%d.%m. %H:%M')": ("", "", "", "", "15.06. 00:00", "15.06. 09:00", ""),
    "dictsort": (_NO, *_OF_LISTS, _NO),
    "e": _AS_READ,
    "escape": _AS_READ,
    "filesizeformat": (_NO, "7 Bytes", "99 Bytes", "1 Byte", _NO, _NO, _NO),
    "first": ("a", *_OF_LISTS, "phone"),
    "float": ("0", "7", "99.5", "1", "0", "0", "0"),
    "forceescape": _AS_READ,
    "format(1)": (_NO, *_OF_LISTS, _NO),
    "groupby('x')": (_NO, *_OF_LISTS, _NO),
    "indent": _AS_READ,
    "int": ("0", "7", "99", "1", "0", "0", "0"),
    "items | list": (_NO, *_OF_LISTS, _NO),
    "join('+')": ("a+d+a+ +l", *_OF_LISTS, "phone+tv"),
    "last": ("l", *_OF_LISTS, "tv"),
    "length": ("5", *_OF_LISTS, "2"),
    "list": ("a, d, a,  , l", *_OF_LISTS, "phone, tv"),
    "lower": _AS_READ,
    "map('upper')": ("A, D, A,  , L", *_OF_LISTS, "PHONE, TV"),
    "max": ("l", *_OF_LISTS, "tv"),
    "min": (" ", *_OF_LISTS, "phone"),
    "pprint | length": ("7", "1", "15", "4", "26", "86", "15"),
    "random | length": ("1", *_OF_LISTS, None),
    "reject('eq', 'tv')": ("a, d, a,  , l", *_OF_LISTS, "phone"),
    "rejectattr('x')": (_NO, *_OF_LISTS, _NO),
    "replace('a', 'b')": ("bdb l", *_AS_READ[1:]),
    "reverse": ("l ada", *_OF_LISTS, "tv, phone"),
    "round": (_NO, "7", "100", "1", _NO, _NO, _NO),
    "safe": _AS_READ,
    "select('eq', 'tv')": ("", *_OF_LISTS, "tv"),
    "selectattr('x')": (_NO, *_OF_LISTS, _NO),
    "slice(1)": ("a, d, a,  , l", *_OF_LISTS, "phone, tv"),
    "sort(reverse=true)": ("l, d, a, a,  ", *_OF_LISTS, "tv, phone"),
    "string": _AS_READ,
    "striptags": _AS_READ,
    "sum": (_NO, *_OF_LISTS, _NO),
    "title": ("Ada L", "7", "99.5", "True", "2027-06-15", _MOMENT, "Phone, Tv"),
    "trim": _AS_READ,
    "truncate(4, true, '', 0)": ("ada ", "7", "99.5", "true", "2027", "2027", "phon"),
    "unique": ("a, d,  , l", *_OF_LISTS, "phone, tv"),
    "upper": ("ADA L", "7", "99.5", "TRUE", "2027-06-15", _MOMENT, "PHONE, TV"),
    "urlencode": (
        "ada%20l", "7", "99.5", "true", "2027-06-15", "2027-06-15%2009%3A00", "phone%2C%20tv"
    ),
    "urlize": _AS_READ,
    "wordcount": ("2", "1", "2", "1", "3", "5", "2"),
    "words": (*_AS_READ[:6], "phone and tv"),
    "words('und')": (*_AS_READ[:6], "phone und tv"),
    "wordwrap(99)": _AS_READ,
    "xmlattr": (_NO, *_OF_LISTS, _NO),
}  # fmt: skip
FILLING_IN: dict[str, tuple[str, ...]] = {
    "default('x')": (*_AS_READ, "x"),
    "d('x')": (*_AS_READ, "x"),
    "tojson": (
        '"ada l"', "7", "99.5", "true", '"2027-06-15"', '"2027-06-14T23:00:00Z"',
        '["phone", "tv"]', "null",
    ),
}  # fmt: skip


def read(source: str, zone: ZoneInfo = SYDNEY, **more: object) -> str:
    """The text of a message for one customer."""
    made = Rendering(MessageTemplate("m", "s", source), NOW)
    return made.rendered({**VALUES, **more}, zone, journey="j", unsubscribe_url=None)[1]


def test_no_filter_of_templates_is_without_a_row() -> None:
    """The matrix below has every filter that a template may use."""
    told = {each.split(" ")[0].split("(")[0] for each in (*FILTERS, *FILLING_IN)}
    assert told == set(environment(html=False).filters)


@pytest.mark.parametrize("used", [*FILTERS, *FILLING_IN])
def test_a_filter_takes_every_type_as_people_read_it_and_leaves_what_is_missing(used: str) -> None:
    """Text filters read a date, a moment, a decimal and a list as they are written; a missing
    value is nothing through all but those that fill in."""
    for name, told in zip(VALUES, FILLING_IN.get(used) or (*FILTERS[used], ""), strict=False):
        source = f"{{{{ {name} | {used} }}}}"
        if told is not None:
            assert read(source) == told, name
        elif "random" not in used:
            with pytest.raises(RenderingError):
                read(source)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("Dear {{ nothing | title }}, hello {{ nothing | default('customer') }}", None),
        ("Dear {{ nothing }}, hello {{ nothing | trim | title | d('customer') }}", None),
        ("Dear {{ none_of_them | first }}, hello {{ none_of_them[0] | d('customer') }}", None),
        ("Dear {{ nothing.title() }}, hello {{ nothing[0].upper() | d('customer') }}", None),
        ("{{ 'Dear ' + nothing }}, hello {{ nothing + 1 | d('customer') }}", "Dear , hello "),
        ("{{ 'Dear ' ~ nothing }}|{{ balance ~ opted_in ~ visit }}", "Dear |99.5true" + _MOMENT),
        ("{{ '%.2f' | format(balance) }} {{ '%s' | format(balance) }}", "99.50 99.5"),
        ("{{ '%.2f' % balance }} {{ '%s' % balance }} {{ '%s' % things }}", "99.50 99.5 phone, tv"),
        ("{{ '%s, %s' | format(visit, opted_in) }}", _MOMENT + ", true"),
        ("{{ '%.2f' | format(nothing) }}{{ '%.2f' % nothing }}{{ nothing * 2 }}{{ -nothing }}", ""),
        ("{{ balance * 2 }} {{ points / 2 }} {{ (points + 1) / 2 }}", "199 3.5 4"),
        ("{% if nothing %}a{% elif nothing is none and nothing is not defined %}b{% endif %}", "b"),
        ("{{ nothing == none }} {{ nothing != '' }} {{ nothing > 3 }}", "true true false"),
        ("{{ nothing <= 3 }} {{ 3 < nothing }} {{ 'a' in nothing }}", "false false false"),
        ("{% for each in nothing %}x{% endfor %}{{ nothing is none }}", "true"),
        ("{{ name is none }}", "false"),
        ("{{ [nothing, balance] | tojson }}", "[null, 99.5]"),
        ("{{ {'a': nothing} | tojson }}", '{"a": null}'),
        ("{{ things | map('title') | join('; ') }} {{ things | reverse }}", "Phone; Tv tv, phone"),
        ("{{ ['a', 'b', 'c'] | words }}, {{ ['a'] | words }}, {{ [] | words }}", "a, b and c, a, "),
    ],
)  # fmt: skip
def test_a_missing_value_is_nothing_whatever_is_made_of_it(source: str, told: str | None) -> None:
    """Parts, methods, sums, comparisons and loops of what is missing; `default` fills it in."""
    assert read(source) == ("Dear , hello customer" if told is None else told)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("{{ visit | date }}", "15 June 2027"),
        ("{{ visit }}", "2027-06-15 09:00"),
        ("{{ visit | date('%H:%M %Z') }}", "09:00 AEST"),
        ("{{ visit.hour }}", "9"),
        ("{{ balance }}", "99.5"),
        ("{{ channels }}", "sms, R&D"),
        ("{{ nothing }}|{{ opted_in }}|{{ points }}", "|true|7"),
        ("{{ last }} {{ last | date('%Y') }}", "9999-12-31 23:59 9999"),
        ("{{ first | date('%d.%m.') }}", "01.01."),
        ("{{ ends | date }} {{ ends }} {{ today }}", "15 June 2027 2027-06-15 2027-06-10"),
        ("{{ unsubscribe_url | d('none') }}", "none"),
    ],
)
def test_messages_are_in_local_time(source: str, told: str) -> None:
    """A moment's day in a message is that of the clocks, as in `profile show`; in HTML escaped."""
    more = {
        "channels": ["sms", "R&D"],
        "first": datetime(1, 1, 1, tzinfo=UTC),
        "last": datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
    }
    made = Rendering(MessageTemplate("m", source, source, source), NOW)
    found = made.rendered({**VALUES, **more}, SYDNEY, journey="j", unsubscribe_url=None)
    assert found == (told, told, told.replace("&", "&amp;"))


def test_dates_in_a_message_are_the_customers_own() -> None:
    """The same visit on two days of two customers' calendars, as is today."""
    source = "{{ visit | date }} {{ today }}"
    assert read(source, SYDNEY) == "15 June 2027 2027-06-10"
    assert read(source, ZoneInfo("America/New_York")) == "14 June 2027 2027-06-09"


def test_a_name_that_nobody_gives_is_a_fault() -> None:
    """A typing error in a part of a value isn't taken for a missing value."""
    with pytest.raises(RenderingError):
        read("{{ visit.huor }}")


def test_check_tells_a_filter_that_there_is_not(tmp_path: Path) -> None:
    """With its line, before anybody would get no message for it."""
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "m.txt").write_text("Subject: x\n\nHello\n{{ name | titel }}\n")
    _, [found] = read_templates(tmp_path, {"name": None})
    assert (found.file, found.line, found.text) == (
        "templates/m.txt",
        4,
        "No filter named 'titel'.",
    )
