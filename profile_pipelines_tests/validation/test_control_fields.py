"""Control fields as files bring them: what can't be read has a harmless default, and is told."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from profile_pipelines.landing import SyncResult
from profile_pipelines_tests.company import Company

IDENTIFIERS = {
    "customer_no": {"normalise": ["trim"]},
    "phone": {"normalise": ["digits"]},
    "email": {"normalise": ["email"]},
    "mobile": {"normalise": [{"phone": "DE"}]},
    "card": {"normalise": ["trim", "lower"]},
}


def crm(folder: Path, path: str, attributes: dict[str, str] | None = None, **sync: Any) -> Company:
    """A CRM that exports one file; its attributes are texts unless said otherwise."""
    kinds = attributes if attributes is not None else {"name": "string"}
    people = {
        "path": path,
        "identifiers": {"customer_no": "id"},
        "attributes": {name: name for name in kinds},
        **sync,
    }
    declared = {
        "identifiers": IDENTIFIERS,
        "attributes": {
            name: {"type": kind, "sources": ["crm"], "fresh_within": "24h", "max_invalid": "100%"}
            for name, kind in kinds.items()
        },
        "systems": {
            "crm": {
                "system": "crm",
                "kind": "crm",
                "connection": {"type": "files", "root": str(folder)},
                "syncs": {"people": people},
            }
        },
        "audiences": {},
    }
    return Company(folder, declared)


def ran(company: Company) -> SyncResult:
    [result] = company.run()
    return result


def ids(company: Company, identifier: str = "customer_no") -> set[str]:
    """The living customers' identifiers."""
    rows = company.customers.profiles().to_arrow().to_pylist()
    return {value for row in rows for value in row[identifier] or ()}


def quarantined(company: Company) -> set[tuple[str, str]]:
    rows = company.customers.quarantine().to_arrow().to_pylist()
    return {(row["attribute"], row["value"]) for row in rows}


def test_a_mark_of_deletion_that_is_not_understood_deletes_nobody(tmp_path: Path) -> None:
    """Zeros, placeholders, words for no and a far future keep the record; only a flag or a time
    that has passed deletes, and what is none of these is told."""
    marks = {
        "zero date": "0000-00-00 00:00:00", "no value": "NULL", "copy": "\\N", "zero": "0.0",
        "off": "off", "never": "9999-12-31 00:00:00", "dash": "-", "blank": "",
        "dotnet": "0001-01-01", "sql server": "1753-01-01 00:00:00.000", "ad": "1601-01-01",
        "ole": "1899-12-30", "epoch in berlin": "1970-01-01 01:00:00", "planned": "2026-12-31",
        "odd": "perhaps", "odd number": "7", "before computers": "1815-12-10",
        "gone": "2026-01-05 10:00:00", "gone too": "1", "gone as well": "Yes",
    }  # fmt: skip
    rows = "".join(f"{who},x,{mark}\n" for who, mark in marks.items())
    (tmp_path / "people.csv").write_text("id,name,gone\n" + rows)
    company = crm(tmp_path, "people.csv", deleted="gone", key="id")
    result = ran(company)
    assert ids(company) == {who for who in marks if not who.startswith("gone")}
    assert sum(result.unread["deleted"].values()) == 2
    assert quarantined(company) == {("deleted", "perhaps"), ("deleted", "7")}


def test_a_deletion_may_be_declared_by_numbers(tmp_path: Path) -> None:
    """In whichever type they come, beside words."""
    for number, column in enumerate((pa.array([9.0, 1.0]), pa.array(["9", "1"]))):
        folder = tmp_path / str(number)
        folder.mkdir()
        people = pa.table({"id": ["1", "2"], "name": ["a", "b"], "state": column})
        pq.write_table(people, folder / "people.parquet")
        company = crm(folder, "people.parquet", deleted="state", deleted_when=[9, "x"], key="id")
        ran(company)
        assert ids(company) == {"2"}


@pytest.mark.parametrize(
    "flags",
    [
        pa.array([0.0, 1.0, None]),
        pa.array([Decimal(0), Decimal(1), None], pa.decimal128(1, 0)),
        pa.array([0, 1, None]),
        pa.array([False, True, None]),
        pa.array(["f", "T", None]),
    ],
)
def test_a_flag_of_any_type_is_a_flag(tmp_path: Path, flags: pa.Array) -> None:
    """Floats and decimals with gaps, as pandas and warehouses write them, too; and the opposite
    by `deleted_when: [false]`."""
    people = pa.table({"id": ["1", "2", "3"], "name": ["a", "b", "c"], "flag": flags})
    pq.write_table(people, tmp_path / "people.parquet")
    company = crm(tmp_path, "people.parquet", deleted="flag", key="id")
    ran(company)
    assert ids(company) == {"1", "3"}
    other = tmp_path / "other"
    other.mkdir()
    pq.write_table(people, other / "people.parquet")
    company = crm(other, "people.parquet", deleted="flag", deleted_when=[False], key="id")
    ran(company)
    assert ids(company) == {"2", "3"}


def test_a_word_for_deleted_is_known_in_every_spelling(tmp_path: Path) -> None:
    """In any case, with space or characters that nobody sees, composed or not, in any width."""
    words = [
        "GELÖSCHT ",
        "gelo\u0308scht",
        "gel\u00adöscht",
        "ｇｅｌöｓｃｈｔ",
        "\ufeffgelöscht",
        "aktiv",
    ]
    rows = "".join(f"{number},x,{word}\n" for number, word in enumerate(words, 1))
    (tmp_path / "people.csv").write_text("id,name,state\n" + rows, encoding="utf-8")
    company = crm(tmp_path, "people.csv", deleted="state", deleted_when=["gelöscht"], key="id")
    ran(company)
    assert ids(company) == {"6"}


@pytest.mark.parametrize("steps", [None, [{"timestamp": "%Y-%m-%d %H:%M"}]])
def test_a_local_time_that_the_clocks_skip_is_told_as_that(
    tmp_path: Path, steps: list[dict[str, str]] | None
) -> None:
    """As a value, in a declared form, and as the time of a change; what is no time at all is told
    as such."""
    (tmp_path / "people.csv").write_text(
        "id,seen,changed\n1,2026-03-29 02:30,2026-03-29 02:30\n2,soon,2026-03-29 03:30\n"
    )
    seen: Any = "seen" if steps is None else {"field": "seen", "convert": steps}
    declared = {"updated_at": "changed", "zone": "Europe/Berlin"}
    company = crm(tmp_path, "people.csv", {"seen": "timestamp"}, **declared)
    people = company.declared["systems"]["crm"]["syncs"]["people"]
    people["attributes"]["seen"] = seen
    company.declare(company.declared)
    result = ran(company)
    skipped = "is no time in Europe/Berlin, where the clocks are put forward over it"
    assert result.unread == {"updated_at": {skipped: 1}}
    other = "not readable as timestamp" if steps is None else "isn't a time as %Y-%m-%d %H:%M"
    assert result.attributes["seen"].reasons == {skipped: 1, other: 1}


def test_a_time_of_change_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """The record counts as changed; what has a comma before its fraction is read."""
    (tmp_path / "people.csv").write_text(
        "id,name,changed\n"
        '1,Ada,31.12.2024 10:00\n2,Bo,"2026-02-01T10:00:00,250Z"\n3,Cy,2026-02-01 09:00 CET\n'
    )
    company = crm(tmp_path, "people.csv", updated_at="changed", key="id")
    result = ran(company)
    assert result.unread == {"updated_at": {"isn't readable as a time": 2}}
    assert ids(company) == {"1", "2", "3"}
    steps = [{"timestamp": "%d.%m.%Y %H:%M"}]
    converted = tmp_path / "converted"
    converted.mkdir()
    (converted / "people.csv").write_text("id,name,changed\n1,Ada,31.12.2024 10:00\n")
    changed = {"field": "changed", "convert": steps}
    company = crm(converted, "people.csv", updated_at=changed, zone="Europe/Berlin", key="id")
    assert ran(company).unread == {}
    receipt = company.customers.profile("1").values["name"].receipt
    assert receipt.winners[0].record_updated_at == datetime(2024, 12, 31, 9, tzinfo=UTC)


def test_numbers_that_lost_digits_join_nobody(tmp_path: Path) -> None:
    """Three phones that a spreadsheet cut are three customers, and each is told."""
    (tmp_path / "people.csv").write_text(
        "no,id,phone,name\n1,A1,4.91701E+12,Ada\n2,A2,4.91701E+12,Bo\n3,A3,4.91701E+12,Cy\n"
        "4,,+49 170 12,Di\n"
    )
    identifiers = {"customer_no": "id", "phone": "phone"}
    company = crm(tmp_path, "people.csv", key="no", identifiers=identifiers)
    result = ran(company)
    assert len(company.customers.profiles().to_arrow()) == 4
    assert sum(result.unread["phone"].values()) == 3
    assert ids(company, "phone") == {"4917012"}


def test_what_is_no_address_joins_nobody_and_is_told(tmp_path: Path) -> None:
    """So is what is no telephone number; placeholders are only missing."""
    (tmp_path / "people.csv").write_text(
        "no,id,mail,tel,name\n1,A1,mailto:Ada@x.example;,030 123456,Ada\n2,A2,call me,n/a,Bo\n"
        '3,A3,"a@x.example, b@x.example",extern,Cy\n4,A4,n/a,(0049) 30 123456,Di\n'
    )
    identifiers = {"customer_no": "id", "email": "mail", "mobile": "tel"}
    company = crm(tmp_path, "people.csv", key="no", identifiers=identifiers)
    result = ran(company)
    assert result.unread == {
        "email": {"no email address, or more than one": 2},
        "mobile": {"no telephone number": 1},
    }
    assert ids(company, "email") == {"ada@x.example"}
    assert ids(company, "mobile") == {"+4930123456"}


def test_fractions_identify_nobody(tmp_path: Path) -> None:
    """They are never cut to a whole number that somebody else has."""
    people = pa.table(
        {"id": [1001.1, 1001.2, 7.0], "key": ["a", "b", "c"], "name": ["a", "b", "c"]}
    )
    pq.write_table(people, tmp_path / "people.parquet")
    company = crm(tmp_path, "people.parquet", key="key")
    result = ran(company)
    assert ids(company) == {"7"}
    assert sum(result.unread["customer_no"].values()) == 2


def test_floats_too_large_to_be_exact_join_nobody(tmp_path: Path) -> None:
    """Also written into CSV and JSON; whole numbers of that size are exact, and stay."""
    (tmp_path / "people.csv").write_text(
        "id,key,name\n1.2345678901234568e+16,a,x\n12345678901234568.0,b,x\n12345678901234567,c,x\n"
    )
    result = ran(company := crm(tmp_path, "people.csv", key="key"))
    assert ids(company) == {"12345678901234567"}
    assert sum(result.unread["customer_no"].values()) == 2
    other = tmp_path / "other"
    other.mkdir()
    (other / "people.jsonl").write_text(
        '{"id": 1.2345678901e+18, "key": "a"}\n{"id": 1.2345678901234568e+16, "key": "b"}\n'
        '{"id": 12345678901234568.0, "key": "c"}\n{"id": 12345678901234567, "key": "d"}\n'
        '{"id": 1e3, "key": "e"}\n'
    )
    result = ran(company := crm(other, "people.jsonl", {"id": "string"}, key="key"))
    assert ids(company) == {"12345678901234567", "1000"}
    assert sum(result.unread["customer_no"].values()) == 3
    values = {row["id"] for row in company.customers.profiles().to_arrow().to_pylist()}
    assert values == {"12345678901234567", "1000"}


def test_no_step_makes_somebody_of_a_cell_that_is_nobody(tmp_path: Path) -> None:
    """Placeholders and numbers that lost digits stay so, also when they are filled up."""
    (tmp_path / "people.csv").write_text(
        "id,key,name\nn/a,a,x\n0,b,x\n4.9E+12,c,x\n9007199254740992.0,d,x\nBanned,e,x\n7.0,f,x\n"
    )
    padded = {"field": "id", "convert": [{"pad": {"to": 14, "with": "0"}}]}
    company = crm(tmp_path, "people.csv", identifiers={"customer_no": padded}, key="key")
    result = ran(company)
    assert ids(company) == {"00000000000007", "00000000Banned"}
    assert sum(result.unread["customer_no"].values()) == 2


def test_placeholders_of_exports_are_missing(tmp_path: Path) -> None:
    """Customers without a card aren't one customer, and \\N is no tier."""
    (tmp_path / "people.csv").write_text(
        "no,card,name\n1,\\N,gold\n2,\\N,\\N\n3,(null),basic\n4,(null),gold\n5,NULL,basic\n6,#N/A,x\n"
    )
    identifiers = {"customer_no": "no", "card": "card"}
    company = crm(tmp_path, "people.csv", key="no", identifiers=identifiers)
    ran(company)
    assert len(company.customers.profiles().to_arrow()) == 6
    assert company.profile("2") == {}


def test_a_spreadsheets_marks_are_no_part_of_a_value(tmp_path: Path) -> None:
    """="00123" and '00123 are 00123, as identifier and as value; a padded number is found, too."""
    (tmp_path / "people.csv").write_text(
        'id,name\n"=""00123""","=""01067"""\n\'00123,\'01067\n00123,01067\n123,01067\n'
    )
    padded = {"field": "id", "convert": [{"pad": {"to": 5, "with": "0"}}]}
    company = crm(tmp_path, "people.csv", identifiers={"customer_no": padded})
    ran(company)
    assert ids(company) == {"00123"}
    assert company.profile("00123") == {"name": "01067"}


def test_a_columns_type_may_change_between_two_reads(tmp_path: Path) -> None:
    """Integers become floats as soon as one is missing: nobody is new, nothing has changed."""
    for number, column in enumerate(
        (pa.array([123, 124]), pa.array([123.0, 124.0]), pa.array(["123", "124.0"]))
    ):
        people = pa.table({"id": column, "name": column})
        pq.write_table(people, tmp_path / "people.parquet")
        company = crm(tmp_path, "people.parquet", key="id")
        result = ran(company)
        assert ids(company) == {"123", "124"}
        assert company.profile("123")["name"] == "123"
        assert number == 0 or (result.changed, result.deleted) == (0, 0)


def test_zero_dates_and_nan_are_missing_and_old_ones_are_read(tmp_path: Path) -> None:
    """A missing number is missing as NaN; a date isn't guessed at."""
    (tmp_path / "people.csv").write_text(
        "id,ends,score,name\n1,0000-00-00,NaN,a\n2,9999-12-31,1.5,b\n3,26-12-31,x,c\n4,46387,,d\n"
    )
    kinds = {"ends": "date", "score": "decimal"}
    company = crm(tmp_path, "people.csv", kinds)
    ran(company)
    assert quarantined(company) == {("ends", "26-12-31"), ("ends", "46387"), ("score", "x")}
    assert company.profile("1") == {}


def test_a_decimal_comma_is_read_once(tmp_path: Path) -> None:
    """By the file's options or by a step of the field, never by both: 12,345 isn't 12345."""
    (tmp_path / "people.csv").write_text("id;score;rest\n1;12,345;0,5\n2;1.234,56;7\n")
    people = {
        "path": "people.csv",
        "csv": {"decimal": ","},
        "identifiers": {"customer_no": "id"},
        "attributes": {
            "score": {"field": "score", "convert": [{"number": "decimal_comma"}]},
            "rest": "rest",
        },
    }
    declared = crm(tmp_path, "people.csv", {"score": "decimal", "rest": "decimal"}).declared
    declared["systems"]["crm"]["syncs"]["people"] = people
    company = Company(tmp_path, declared)
    ran(company)
    assert company.profile("1") == {"score": Decimal("12.345"), "rest": Decimal("0.5")}
    assert company.profile("2") == {"score": Decimal("1234.56"), "rest": Decimal(7)}
