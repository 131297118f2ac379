"""Aggregates that don't fit their child records or attributes are mistakes at their line."""

from __future__ import annotations

from pathlib import Path

import pytest

from profile_pipelines_tests.catalog.folders import VALID, crm, mistakes_in, write_catalogue

ONE = "needs exactly one of count, last, sum, min, max, list_distinct, any, all"
FIELDS = """\
key: id
    fields:
      state: {type: string}
      total: {type: integer}
      at: {type: timestamp}
      open: {type: boolean}
    updated_at: changed
    attributes:
      tier: {aggregate: {last: state, by: at}}
      points: {aggregate: AGGREGATE}
"""


def _mistakes(folder: Path, aggregate: str, fields: str = FIELDS) -> list[str]:
    text = fields.replace("AGGREGATE", aggregate)
    text = text.rstrip()
    old = "attributes:\n      tier: tier\n      points: points"
    return mistakes_in(write_catalogue(folder, **crm(old, text)))


@pytest.mark.parametrize(
    ("aggregate", "expected"),
    [
        ("sums", ["must be count, or for example {max: ordered_at, where: …}"]),
        ("{}", [ONE]),
        ("{sum: total, count: true}", [ONE]),
        ("{sum: total, by: at}", ["`by` goes with `last` only"]),
        ("{sum: totl}", [".sum: unknown field; did you mean total?"]),
        ("{sum: state}", [".sum: needs numbers; the field's type is string"]),
        ("{max: at}", [".max: gives timestamp or date, but the attribute's type is integer"]),
        ("{last: total, by: open}", [".by: needs values in order; the field's type is boolean"]),
        (
            "{last: total, by: {total: [a]}}",
            [".by: orders words, but the type of total is integer"],
        ),
        ("{last: total, by: {stat: [a]}}", [".by: unknown field; did you mean state?"]),
        (
            "{last: total, by: {state: [a, b, a]}}",
            [".by: has the word a twice"],
        ),
        (
            "{last: total, by: {state: []}}",
            [".by: needs the words of state, the first of which wins: [open, done]"],
        ),
        (
            "{last: total, by: {state: [a], at: [b]}}",
            [".by: must be a field, or one field with its words: {status: [open, done]}"],
        ),
        ("{any: state}", [".any: needs a boolean; the field's type is string"]),
        ("{all: open}", [".all: gives boolean, but the attribute's type is integer"]),
        ("{any: opn}", [".any: unknown field; did you mean open?"]),
        (
            "{count: true, where: {stat: {is: x}}}",
            [".where.stat: unknown field stat; did you mean state?"],
        ),
        (
            "{count: true, where: {any: [{state: {changed_within: 1 day}}]}}",
            [
                ".where.any[0].state.changed_within: asks about profiles; it can't be asked of "
                "children"
            ],
        ),
    ],
)  # fmt: skip
def test_aggregates(tmp_path: Path, aggregate: str, expected: list[str]):
    """Each line says what is wrong with the aggregate and what would be right."""
    found = [line.split(".aggregate", 1)[1] for line in _mistakes(tmp_path, aggregate)]
    assert [line.removeprefix(": ") for line in found] == expected


def test_a_right_one(tmp_path: Path):
    """Functions, conditions and types that fit are no mistakes."""
    where = "{count: true, where: {all: [{state: {is: paid}}, {at: {within_last: 90 days}}]}}"
    assert _mistakes(tmp_path, where) == []
    assert _mistakes(tmp_path, "count") == []
    for by in ("total", "state", "at", "{state: [paid, sent]}"):
        assert _mistakes(tmp_path, f"{{last: total, by: {by}}}") == []


def test_what_an_aggregating_sync_needs(tmp_path: Path):
    """A key, one identifier, and an aggregate for each attribute."""
    fields = FIELDS.replace("key: id\n    ", "").replace("{aggregate: {last: state, by: at}}", "x")
    found = _mistakes(tmp_path, "count", fields)
    assert [line.split("syncs.contacts.")[1] for line in found] == [
        "key: is missing; an aggregating sync needs the field that tells children apart",
        (
            "attributes.tier: this sync's records are children, so it needs `aggregate`, such "
            "as count"
        ),
    ]


def test_events_about_children(tmp_path: Path):
    """Events may name child records too, by the sync's key, which has to be there."""
    webhook = """\
webhook:
  signature: shopify
  secret: {env: SECRET}
  events: [{types: [orders/updated], sync: contacts, id: id}]
"""
    attributes = FIELDS.replace("AGGREGATE", "count").rstrip()
    text = VALID["sources/crm.yaml"].replace(
        "attributes:\n      tier: tier\n      points: points", attributes
    )
    folder = write_catalogue(tmp_path, **{"sources/crm.yaml": text + webhook})
    assert mistakes_in(folder) == []
