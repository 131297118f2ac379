"""Mistakes in destinations, each with its line and what would be right."""

from __future__ import annotations

from pathlib import Path

import pytest

from profile_pipelines_tests.catalog.folders import VALID, mistakes_in, write_catalogue

FILES = {
    "attributes.yaml": VALID["attributes.yaml"]
    + "opt_in: {type: boolean, sources: [crm], fresh_within: 24h, consent: email}\n",
    "sources/crm.yaml": VALID["sources/crm.yaml"] + "      opt_in: opt_in\n",
    "audiences/gold.yaml": "audience: gold\nwhere: {tier: {is: gold}}\n",
}
HEAD = "destination: out\naudience: gold\nconsent: email\n"


def _mistakes(folder: Path, text: str) -> list[str]:
    return mistakes_in(write_catalogue(folder, **FILES, **{"destinations/out.yaml": text}))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (HEAD + "columns: [email, tier]\nto: {type: csv}\n", []),
        (HEAD + "columns: {email: mail}\nto: {type: parquet, keep_changes: 1 day}\n", []),
        (
            HEAD.replace("gold", "gould").replace("consent: email", "consent: mail")
            + "columns: [emial]\nto: {type: csv}\n",
            [
                "destinations/out.yaml:2: audience: unknown audience gould; did you mean gold?",
                "destinations/out.yaml:3: consent: no attribute holds the consent mail "
                "(`consent: mail`); did you mean email?",
                "destinations/out.yaml:4: columns.emial: unknown identifier or attribute emial; "
                "did you mean email?",
            ],
        ),
        (
            "destination: out\naudience: gold\ncolumns: [email]\nto: {type: csv}\n",
            ["destinations/out.yaml:1: consent: is missing"],
        ),
        (
            HEAD + "columns: {email: Profile_ID, tier: a, points: A}\nto: {type: csv}\n",
            [
                "destinations/out.yaml:4: columns.email: the column Profile_ID is kept for every "
                "delivery; choose another name",
                "destinations/out.yaml:4: columns.points: the column A is given twice",
                "destinations/out.yaml:4: columns.tier: the column a is given twice",
            ],
        ),
        (
            HEAD + "to: {type: sql, url: 'postgresql://me:secret@db/x', table: t}\n",
            [
                "destinations/out.yaml:1: columns: name at least one attribute or identifier "
                "that is told",
                "destinations/out.yaml:4: to.url: holds a secret; write the whole of it as "
                "{env: NAME} and set that variable",
            ],
        ),
        (
            HEAD + "columns: [email]\nto: {type: customer_io, site_id: s, api_key: {env: K}, "
            "segment: 7, person: opt_in}\n",
            [
                "destinations/out.yaml:4: columns: customer_io takes no columns: only who is in "
                "the list",
                "destinations/out.yaml:5: to.person: customers are known by a string or an "
                "integer; the type of opt_in is boolean",
            ],
        ),
        (
            HEAD + "columns: {email: EMALE}\nto: {type: meta_audience, access_token: {env: K}, "
            "audience_id: '7'}\n",
            [
                "destinations/out.yaml:4: columns.email: meta_audience knows no EMALE; it matches "
                "by EMAIL, PHONE, FN, LN, GEN, DOBY, DOBM, DOBD, CT, ST, ZIP, COUNTRY, MADID and "
                "EXTERN_ID"
            ],
        ),
        (
            HEAD + "columns: {email: email, tier: given_name}\nto: {type: google_customer_match, "
            "client_id: c, client_secret: {env: S}, refresh_token: {env: R}, account_id: '1', "
            "audience_id: '2'}\n",
            [
                "destinations/out.yaml:4: columns: an address is matched only as a whole; "
                "family_name, postal_code, region_code is missing"
            ],
        ),
        (
            HEAD + "columns: {tier: vip}\nto: {type: braze, url: https://x, api_key: {env: K}, "
            "external_id: email, attribute: vip}\n",
            [
                "destinations/out.yaml:5: to.attribute: is the name of a column, too; choose "
                "another one"
            ],
        ),
    ],
)  # fmt: skip
def test_mistakes(tmp_path: Path, text: str, expected: list[str]):
    """Every mistake of a destination is told at once; a right one has none."""
    assert _mistakes(tmp_path, text) == expected
