"""Syncs of CSV files, from the file to the values, and what a live check tells of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from profile_pipelines.errors import SourceError
from profile_pipelines.live_check import check_live
from profile_pipelines_tests.company import Company, catalogue


def company_of(folder: Path, content: str | bytes, **options: Any) -> Company:
    """A company whose one system is this CSV file."""
    declared = catalogue(("crm",), ("status", "balance", "tier"))
    declared["audiences"] = {}
    crm = declared["systems"]["crm"]
    crm["connection"] = {"type": "files", "root": str(folder)}
    crm["syncs"]["people"] = {
        "path": "people.csv",
        "identifiers": {"customer_no": "no"},
        "attributes": {"status": "status", "balance": "balance", "tier": "tier"},
        **({"csv": options} if options else {}),
    }
    (folder / "people.csv").write_bytes(content.encode() if isinstance(content, str) else content)
    return Company(folder, declared)


def test_an_unclosed_quote_changes_nothing(tmp_path: Path) -> None:
    """No row becomes part of another's value; the error names the file and the line."""
    content = "no,status,balance,tier\n1,active,1,Ada\n2,active,2,%s\n3,active,3,Cy\n"
    company = company_of(tmp_path, content % "Bo")
    company.run()
    (tmp_path / "people.csv").write_text(content % '"Bo', encoding="utf-8")
    with pytest.raises(SourceError, match=r"crm\.people: people\.csv:3: .*isn't closed"):
        company.sync("crm")
    company.settle()
    assert [company.profile(no)["tier"] for no in "123"] == ["Ada", "Bo", "Cy"]


def _many(*instead: tuple[int, str], without: int = 0) -> str:
    """Sixty customers, with other lines in place of some, and perhaps one less."""
    lines = [f"{n},active,{n},T{n}" for n in range(1, 61) if n != without]
    for number, line in instead:
        lines[number - 1] = line
    return "\n".join(["no,status,balance,tier", *lines, ""])


def test_a_few_rows_with_other_cells_are_quarantined_with_their_lines(tmp_path: Path) -> None:
    """They count as invalid, and nobody goes meanwhile: whoever doesn't come may be such a row.
    Once they are corrected all is as if they had always been right."""
    company = company_of(tmp_path, _many())
    company.run()
    bad = _many((3, "3,active,3"), (20, '20,act"ive,20,T20,x'), without=40)
    (tmp_path / "people.csv").write_text(bad)
    [result] = company.run()
    assert (result.deleted, result.bad_records, result.rows_read) == (0, 2, 59)
    assert result.unread["customer_no"] == {
        "in line 4 has 3 cells, the header 4": 1,
        "in line 21 has 5 cells, the header 4": 1,
    }
    assert {name: entry.invalid for name, entry in result.attributes.items()} == {
        "status": 2,
        "balance": 2,
        "tier": 2,
    }
    assert [company.profile(no)["tier"] for no in ("3", "20", "40")] == ["T3", "T20", "T40"]
    (tmp_path / "people.csv").write_text(_many((3, "3,active,3,new"), without=40))
    [result] = company.run()
    # customer 40, and the two rows that were kept for themselves
    assert (result.deleted, result.bad_records) == (3, 0)
    assert [company.profile(no)["tier"] for no in ("3", "20")] == ["new", "T20"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (_many((60, "60,active,6")), r"people\.csv: row 61 has 3 cells, the header 4"),
        (_many(*((n, f"{n},active") for n in range(10, 15))), r"row 11 has 2 cells, the header 4"),
    ],
    ids=["the last row of a file that may be cut", "too many"],
)
def test_other_rows_with_other_cells_are_an_error(tmp_path: Path, content: str, said: str) -> None:
    company = company_of(tmp_path, content)
    with pytest.raises(SourceError, match=said):
        company.sync("crm")


def test_a_spreadsheet_program_of_germany_is_read_as_it_stands(tmp_path: Path) -> None:
    """Semicolons, Windows-1252 and decimal commas are found, and told by a live check."""
    text = 'no;status;balance;tier\r\n7;active;"1.234,50";Größe 3,5\r\n8;active;12,5;\r\n'
    company = company_of(tmp_path, text.encode("windows-1252"))
    [result] = company.run()
    shown = company.profile("7")
    assert (str(shown["balance"]), shown["tier"]) == ("1234.5000", "Größe 3,5")
    assert str(company.profile("8")["balance"]) == "12.5000"
    [live] = check_live(company.workspace.catalogue, now=company.now).syncs
    assert live.dialects == ("people.csv: semicolons, Windows-1252, decimal commas",)
    assert result.dialects == live.dialects


@pytest.mark.parametrize(
    ("balances", "said"),
    [
        (("1.234", "5", "12.000"), "look like 1.234, which may be thousands"),
        (
            ("12,50", "1,234.50", "7"),
            "decimal comma and others a decimal point",
        ),
    ],
)
def test_numbers_that_may_be_others_are_told(
    tmp_path: Path, balances: tuple[str, ...], said: str
) -> None:
    """By the run and by a live check, with the key that decides it; then nothing is said."""
    rows = "".join(f"{no};active;{each};gold\n" for no, each in enumerate(balances, 1))
    company = company_of(tmp_path, f"no;status;balance;tier\n{rows}")
    [result] = company.run()
    [told] = result.dialects
    assert said in told
    assert "csv: {decimal: ','}" in told
    [live] = check_live(company.workspace.catalogue, now=company.now).syncs
    assert live.dialects == (told,)
    company.declared["systems"]["crm"]["syncs"]["people"]["csv"] = {"decimal": "."}
    company.declare(company.declared)
    assert company.run()[0].dialects == ("people.csv: semicolons, UTF-8",)


def test_a_point_where_commas_are_declared_is_quarantined(tmp_path: Path) -> None:
    """It may be thousands or decimals."""
    text = "no;status;balance;tier\n7;active;1,5;\n8;active;1.5;\n"
    company = company_of(tmp_path, text, decimal=",")
    [result] = company.run()
    assert result.attributes["balance"].reasons == {"isn't a number with a decimal comma": 1}
    assert str(company.profile("7")["balance"]) == "1.5000"
    assert "balance" not in company.profile("8")


def test_a_change_of_how_files_are_read_reads_them_anew(tmp_path: Path) -> None:
    """The same file says something else then."""
    text = "no,status,balance,tier\n7,active,1,-\n8,active,2,gold\n"
    company = company_of(tmp_path, text)
    company.run()
    assert company.run()[0].rows_read == 0
    company.declared["systems"]["crm"]["syncs"]["people"]["csv"] = {
        "skip": 0,
        "null": ["-", "gold"],
    }
    company.declare(company.declared)
    assert company.sync("crm").rows_read == 2
