"""What a sample of JSON records tells of their fields."""

from __future__ import annotations

from typing import Any

import pytest

from profile_pipelines.sources.json_shape import kinds, sampled


def _told(*pages: list[Any]) -> dict[str, str]:
    shape: dict[str, set[str]] = {}
    assert list(sampled(pages, shape)) == list(pages), "the records pass as they are"
    return kinds(shape)


def test_fields_with_all_their_types() -> None:
    """By path, also within lists, to the third level; null tells nothing."""
    first = {"id": 1, "on": True, "tags": [{"name": "a"}], "plan": {"price": {"of": {"x": 1}}}}
    assert _told([first], [{"id": "A", "none": None, "tags": []}]) == {
        "id": "number or text",
        "on": "boolean",
        "tags": "list",
        "tags[*].name": "text",
        "plan": "object",
        "plan.price": "object",
        "plan.price.of": "object",
    }


@pytest.mark.parametrize(
    "record",
    [
        {"by": {"ada@example.com": 1}},
        {"by": {"Ada Lovelace": 1}},
        {"by": {"43660123456": 1, "C-000123": 2}},
        {"by": {"name" + "abcdefghij"[n // 10] + "abcdefghij"[n % 10]: n for n in range(60)}},
    ],
)
def test_keys_that_may_be_somebodys_are_not_kept(record: dict[str, Any]) -> None:
    """An address, a name, a number, or one of many keys of a map is no field."""
    assert _told([record]) == {"by": "object"}


def test_a_sample_is_enough() -> None:
    """Of a large answer some records are looked at, of each page."""
    page = [{"id": number} for number in range(20)]
    assert _told([*page, {"late": 1}], [{"next": 1}]) == {"id": "number", "next": "number"}
