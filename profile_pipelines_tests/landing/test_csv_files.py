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
