"""CSV as the world writes it: every dialect and encoding is read, or refused with a line."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from profile_pipelines.errors import SourceError
from profile_pipelines.sources import ReadRequest, Source
from profile_pipelines.sources.csv_text import BLOCK_BYTES
from profile_pipelines_tests.sources.reads import source, values

_MAPPED = {"identifiers": {"id": "id"}, "attributes": {"name": "name"}}


def files(root: Path | str, path: str = "*.csv", **sync: Any) -> Source:
    return source({"type": "files", "root": str(root)}, path=path, **{**_MAPPED, **sync})


def write(path: Path, content: str | bytes, encoding: str = "utf-8") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode(encoding) if isinstance(content, str) else content)


def rows(opened: Source, *fields: str, numbers: tuple[str, ...] = ()) -> list[tuple[Any, ...]]:
    request = ReadRequest(fields, numbers=dict.fromkeys(numbers, True))
    batches = list(opened.read(request))
    return [tuple(row.values()) for batch in batches for row in batch.to_pylist()]


_DELIMITERS = [",", ";", "\t", "|"]
_ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "windows-1252"]
_QUOTINGS = [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]
_CELLS = st.one_of(
    st.text(alphabet=",;\t|\"'\\ \r\nabé€ß1.", max_size=6),
    st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0"), max_size=6),
)


def _written(rows: list[list[str]], delimiter: str, quote: str, quoting: int, line_end: str) -> str:
    text = io.StringIO()
    writer = csv.writer(
        text, delimiter=delimiter, quotechar=quote, quoting=quoting, lineterminator=line_end
    )
    writer.writerows(rows)
    return text.getvalue()


@settings(max_examples=150, deadline=None)
@given(
    records=st.lists(st.tuples(_CELLS, _CELLS, _CELLS), min_size=1, max_size=5),
    delimiter=st.sampled_from(_DELIMITERS),
    encoding=st.sampled_from(_ENCODINGS),
    quote=st.sampled_from("\"'"),
    quoting=st.sampled_from(_QUOTINGS),
    line_end=st.sampled_from(["\n", "\r\n", "\r"]),
    has_header=st.booleans(),
    declared=st.booleans(),
)
def test_every_dialect_comes_back_as_it_was_written(
    records: list[tuple[str, str, str]],
    delimiter: str,
    encoding: str,
    quote: str,
    quoting: int,
    line_end: str,
    has_header: bool,
    declared: bool,
) -> None:
    """Python's csv module writes it; declared or found, each cell is equal."""
    names = ["id", "name", "note"]
    known = encoding if encoding == "windows-1252" else "utf-8"
    data = [[cell.encode(known, "ignore").decode(known) for cell in row] for row in records]
    lines = [names, *data] if has_header else data
    text = _written(lines, delimiter, quote, quoting, line_end)
    # Python's writer leaves out the quotes that a carriage return between \n needs
    again = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quotechar=quote)
    assume(list(again) == lines)
    # a quote that only some cells bear is told by nobody; nor is a mark that isn't one
    assume(declared or quote == '"' or quoting != csv.QUOTE_MINIMAL)
    assume(not text.startswith("\ufeff"))
    options: dict[str, Any] = {} if has_header else {"header": names}
    if declared:
        options |= {"delimiter": delimiter, "encoding": encoding, "quote": quote}
    is_empty_missing = quoting == csv.QUOTE_MINIMAL
    expected = [tuple(cell or (None if is_empty_missing else "") for cell in row) for row in data]
    content = text.encode(encoding)
    # some bytes of Windows-1252 are UTF-8, too
    if encoding == "windows-1252" and not declared:
        assume(content.decode("utf-8", "replace").count("\ufffd") or text.isascii())
    with TemporaryDirectory() as folder:
        Path(folder, "a.csv").write_bytes(content)
        opened = files(folder, **({"csv": options} if options else {}))
        try:
            found = rows(opened, *names)
        except SourceError as error:
            refused = str(error)
        else:
            assert found == expected
            return
    assert not declared, refused
    assert not has_header or "apostrophes" in refused or encoding == "windows-1252", refused


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ('id,name\n1,Ada\n2,"Bo\n3,Cy\n4,Di\n', r"a\.csv:3: .*quote that isn't closed"),
        ('id,name\n1,Ada\n2,"Bo\n3,Cy\n4,"Di"\n5,Ed\n', r"a\.csv:5: .*inside or after a quoted"),
        ('id,name\n1,"He said \\"hi\\""\n', r"a\.csv:2: .*written twice .* declare `csv: {escape"),
        ('id,name\n1,"A"da\n', r"a\.csv:2: .*inside or after a quoted"),
        ('id,name\n1,"A" \n', r"a\.csv:2: .*inside or after a quoted"),
        ('id,name\r1,Ada\r\r2, "Bo"\r', r"a\.csv:4: .*blanks before an opening quote"),
        ('id,name\n1,Ada\n2,"Bo"""\n3,"""', r"a\.csv:4: .*isn't closed"),
        ('id,name\n"1\n\n",Ada\n2,Bo,x\n', r"a\.csv: row 3 \(line 5\) has 3 cells, the header 2"),
        ("id;name\n1,Ada\n", r"a\.csv: row 2 has 1 cells, the header 2"),
        ('"id,name"\n"1,""Ada"""\n', r"no column 'id' .* write the delimiter under csv"),
        ("C1,Ada\n", r"first line of a\.csv has none .* Tried: commas, semicolons"),
        ("id,name\n1,'Ada'\n2,''\n", r"a\.csv: every cell .* apostrophes; .* quote: \"'\""),
        ("id;x|name\n1;2|3\n", r"a\.csv: several delimiters fit"),
        ("id,name,id\n1,Ada,2\n", r"a\.csv has 2 columns 'id'"),
        ("id,name\n1,Zoé\n".encode() + b"2,Zo\xe9\n", r"a\.csv:3: has bytes that aren't UTF-8"),
        (b"id,name\n1,Zo\xe9\n2,Zo\xc3\xa9\n", r"a\.csv:2: has bytes that aren't UTF-8"),
        (b"id,name\n1,A\n2,\x81\n", r"a\.csv:3: .*neither UTF-8 nor Windows-1252"),
        (b"\xef\xbb\xbfid,name\n1,\xe9\n", r"a\.csv:2: has bytes that aren't UTF-8"),
        ("id,name\n1,Ada\n".encode("utf-16")[:-1], r"a\.csv:2: has bytes that aren't UTF-16"),
    ],
)
def test_what_is_no_whole_csv_is_refused_with_its_line(
    tmp_path: Path, content: str | bytes, problem: str
) -> None:
    """No row vanishes, none melts into another, and the error quotes none of them."""
    write(tmp_path / "a.csv", content)
    with pytest.raises(SourceError, match=problem) as caught:
        rows(files(tmp_path), "id", "name")
    assert not {"Ada", "Bo", "Cy"} & set(str(caught.value).replace("'", " ").split())


@pytest.mark.parametrize(
    ("content", "options"),
    [
        ("id,name\n1,Zoé\n", {}),
        ("id;name\n1;Zoé\n", {}),
        ("id\tname\r\n1\tZoé\r\n", {}),
        ("\ufeffid|name\r1|Zoé\r", {}),
        ("id;name\n1;Zoé\n".encode("windows-1252"), {}),
        ("id;name\n1;Zoé\n".encode("utf-16"), {}),
        ("id;name\n1;Zoé\n".encode("utf-16-be"), {}),
        ("sep=;\r\nid;name\r\n1;Zoé\r\n", {}),
        ('"sep=^"\nid^name\n1^Zoé\n', {"skip": 1}),
        ("Report of today\n\nid,name\n1,Zoé\n", {"skip": 2}),
        ("'id';'name'\n'1';'Zoé'\n", {}),
        ("id,name\n1,'Zoé'\n", {"quote": "'"}),
        ("id~name\n1~Zoé\n", {"delimiter": "~"}),
        ("id\tname\n1\tZoé\n", {"delimiter": "tab", "encoding": "utf-8"}),
        ("id,name\n1,Zoé\n".encode("mac-roman"), {"encoding": "macintosh"}),
        ("id,name\n1,Zoé\n".encode("utf-16-be"), {"encoding": "utf-16"}),
        ("1;Zoé\n", {"header": ["id", "name"]}),
        ("1,Zoé\n", {"header": ["id", "name"]}),
        ("'1','Zoé'\n", {"header": ["id", "name"], "quote": "'"}),
        ("1;Zoé;2;3\n", {"header": ["id", "name", "a", "b"], "delimiter": ";"}),
        ("\n\nid,name\n\n1,Zoé\n\n", {}),
    ],
)
def test_dialects_are_found_or_declared(
    tmp_path: Path, content: str | bytes, options: dict[str, Any]
) -> None:
    """Delimiters, encodings, line ends, quotes, what stands before the header, and no header."""
    write(tmp_path / "a.csv", content)
    assert rows(files(tmp_path, csv=options), "id", "name") == [("1", "Zoé")]


def test_columns_without_a_header_have_numbers(tmp_path: Path) -> None:
    """What has no name is told by its place."""
    write(tmp_path / "a.csv", "1;Ada\n2;Bo\n")
    opened = files(tmp_path, csv={"header": False})
    assert rows(opened, "column_2", "column_1") == [("Ada", "1"), ("Bo", "2")]
    assert opened.inspect() == {"column_1": "string", "column_2": "string"}


@pytest.mark.parametrize(
    ("content", "header", "problem"),
    [
        ("1;2,5\n", ["id", "name"], "can be read by several delimiters or quotes; write"),
        ("1,Ada\n", ["id", "name", "note"], "hasn't the 3 cells that header names"),
        ("1,Ada\n2\n", ["id", "name"], "row 2 has 1 cells, the first row 2"),
        ("id,name\n1,Ada\n", ["id", "name"], "take header out"),
        ("'1','Ada'\n", ["id", "name"], "delimiters or quotes"),
        ('1,Ada\n2,"Bo\n', ["id", "name"], r"a\.csv:2: has a quote that isn't closed"),
    ],
)
def test_files_without_a_header_are_read_where_all_rows_fit(
    tmp_path: Path, content: str, header: list[str], problem: str
) -> None:
    """Where two delimiters would do, one is to be declared."""
    write(tmp_path / "a.csv", content)
    with pytest.raises(SourceError, match=problem):
        rows(files(tmp_path, csv={"header": header}), "id", "name")


def test_texts_that_mean_missing_do_so_in_quotes_too(tmp_path: Path) -> None:
    """An empty cell is missing without quotes, and an empty text with them."""
    write(tmp_path / "a.csv", 'id,name\n1,n/a\n2,"n/a"\n3,\n4,""\n5,N/A\n')
    found = values(files(tmp_path, csv={"null": ["n/a"]}), "name")
    assert found == [None, None, None, "", "N/A"]
    assert values(files(tmp_path, csv={"null": ["n/a", ""]}), "name")[3] is None


def test_an_escape_makes_the_next_character_plain_text(tmp_path: Path) -> None:
    """As MySQL writes it: of quotes, delimiters, line ends and itself. Before anything else it is
    a character of the text, so that `\\N` stays what it is: a missing value."""
    content = (
        'id,name\n1,"a \\"b\\", c"\n2,a\\,b\n3,\\N\n4,C:\\\\x\n5,C:\\new\n6,"x\\\\"\n7,a\\\nb\n'
    )
    write(tmp_path / "a.csv", content)
    found = rows(files(tmp_path, csv={"escape": "\\"}), "id", "name")
    said = ['a "b", c', "a,b", "\\N", "C:\\x", "C:\\new", "x\\", "a\nb"]
    assert found == [(str(number), cell) for number, cell in enumerate(said, 1)]


@settings(max_examples=150, deadline=None)
@given(
    records=st.lists(st.tuples(_CELLS, _CELLS, _CELLS), min_size=1, max_size=5),
    delimiter=st.sampled_from(_DELIMITERS),
    quoting=st.sampled_from([csv.QUOTE_NONE, *_QUOTINGS]),
    doubled=st.booleans(),
    line_end=st.sampled_from(["\n", "\r\n"]),
)
def test_what_is_written_with_an_escape_comes_back(
    records: list[tuple[str, str, str]], delimiter: str, quoting: int, doubled: bool, line_end: str
) -> None:
    """Python's csv module writes it, with quotes and without."""
    names = ["id", "name", "note"]
    text = io.StringIO(newline="")
    writer = csv.writer(
        text, delimiter=delimiter, quoting=quoting, escapechar="\\", doublequote=doubled,
        lineterminator=line_end,
    )  # fmt: skip
    writer.writerows([names, *records])
    again = csv.reader(
        io.StringIO(text.getvalue(), newline=""), delimiter=delimiter, escapechar="\\",
        doublequote=doubled,
        quoting=csv.QUOTE_NONE if quoting == csv.QUOTE_NONE else csv.QUOTE_MINIMAL,
    )  # fmt: skip
    assume(list(again) == [names, *map(list, records)])
    options: dict[str, Any] = {"delimiter": delimiter, "escape": "\\", "encoding": "utf-8"}
    options["quote"] = False if quoting == csv.QUOTE_NONE else '"'
    with TemporaryDirectory() as folder:
        Path(folder, "a.csv").write_bytes(text.getvalue().encode("utf-8", "ignore"))
        found = rows(files(folder, csv=options), *names)
    assert [tuple(cell or "" for cell in row) for row in found] == records


def test_quotes_are_plain_characters_where_that_is_declared(tmp_path: Path) -> None:
    """And also in a cell that doesn't begin with one."""
    write(tmp_path / "a.csv", 'id,name\n1,5" pipe\n2,a"b"c\n')
    assert values(files(tmp_path), "name") == ['5" pipe', 'a"b"c']
    write(tmp_path / "a.csv", 'id,name\n1,"Bo\n2," x"\n')
    assert values(files(tmp_path, csv={"quote": False}), "name") == ['"Bo', '" x"']


def test_each_file_is_read_by_its_own_dialect(tmp_path: Path) -> None:
    """Also compressed, and told for each."""
    write(tmp_path / "a.csv", "id,name\n1,Zoé\n")
    write(tmp_path / "b.csv", "name;id\nZoé;2\n", "windows-1252")
    (tmp_path / "c.csv.gz").write_bytes(gzip.compress("id\tname\n3\tZoé\n".encode("utf-16")))
    opened = files(tmp_path, "*.csv*", format="csv")
    assert rows(opened, "id", "name") == [
        ("1", "Zoé"),
        ("2", "Zoé"),
        ("3", "Zoé"),
    ]
    assert getattr(opened, "dialects", None) == {
        "a.csv": "commas, UTF-8",
        "b.csv": "semicolons, Windows-1252",
        "c.csv.gz": "tabs, UTF-16-LE",
    }


def test_what_stands_on_the_edge_of_two_blocks_is_read_and_counted(tmp_path: Path) -> None:
    """Characters, quotes and line ends may be cut anywhere."""
    for cut in range(6):
        filling = "x" * (BLOCK_BYTES - len('id,name\r\n1,"') - cut)
        text = f'id,name\r\n1,"{filling}é""\r\n"\r\n2,Zoé\r\n3,"é"\r\n'
        write(tmp_path / "a.csv", text)
        found = values(files(tmp_path), "name")
        assert found == [f'{filling}é"\r\n', "Zoé", "é"]
        write(tmp_path / "a.csv", text + '4,"x')
        with pytest.raises(SourceError, match=r"a\.csv:6: "):
            values(files(tmp_path), "name")


def test_bytes_of_windows_1252_are_found_wherever_they_begin(tmp_path: Path) -> None:
    """Before them all was ASCII, which is the same in both."""
    filling = "2,x\n" * (BLOCK_BYTES // 4)
    write(tmp_path / "a.csv", f"id,name\n{filling}1,Zoé\n", "windows-1252")
    assert values(files(tmp_path), "name")[-1] == "Zoé"
    write(tmp_path / "a.csv", f"id,name\n1,Zoé\n{filling}1,".encode() + b"\xe9")
    with pytest.raises(SourceError, match=rf"a\.csv:{BLOCK_BYTES // 4 + 3}: has bytes"):
        values(files(tmp_path), "name")


def _numbers(tmp_path: Path, cells: list[str], **options: Any) -> list[tuple[Any, ...]]:
    write(tmp_path / "a.csv", "".join(f"{cell};x\n" for cell in ["id", *cells]))
    opened = files(tmp_path, attributes={}, **({"csv": options} if options else {}))
    return rows(opened, "id", numbers=("id",))


def test_decimal_commas_become_points_in_numbers(tmp_path: Path) -> None:
    """Declared, or where the file's numbers can't be anything else; grouping goes."""
    cells = ["12,50", "1.234,5", "-1 234,00", "1,234", "1.234", "7", "", "a,5", "1,5e3"]
    points = ["12.50", "1234.5", "-1234.00", "1.234", "1234", "7", None, "a,5", "1.5e3"]
    assert _numbers(tmp_path, cells) == [(point,) for point in points]
    assert _numbers(tmp_path, cells, decimal=",") == [(point,) for point in points]
    assert _numbers(tmp_path, cells, decimal=".") == [(cell or None,) for cell in cells]
    assert _numbers(tmp_path, ["1,234", "1.234"], decimal=",") == [("1.234",), ("1234",)]


@pytest.mark.parametrize(
    "cells", [["1,234", "5"], ["12,50", "12.50"], ["12,50", "1,234.5"], ["1.234", "0.5"], ["a,5"]]
)
def test_what_may_be_another_number_stays_as_it_is(tmp_path: Path, cells: list[str]) -> None:
    """Thousands look like decimals, and a file of both has no decimal commas for certain."""
    assert _numbers(tmp_path, cells) == [(cell,) for cell in cells]


def test_a_point_is_no_decimal_mark_where_commas_are(tmp_path: Path) -> None:
    """Such a number has a problem, which quarantines it."""
    assert _numbers(tmp_path, ["12,50", "12.5", ".5"], decimal=",") == [
        ("12.50", None),
        ("12.5", "isn't a number with a decimal comma"),
        (".5", "isn't a number with a decimal comma"),
    ]


def test_decimal_commas_are_looked_for_in_numbers_alone(tmp_path: Path) -> None:
    """Other attributes keep their text."""
    write(tmp_path / "a.csv", "id;name\n3,5;4,5\n")
    assert rows(files(tmp_path), "id", "name", numbers=("name",)) == [("3,5", "4.5")]


@settings(max_examples=200, deadline=None)
@given(text=st.text(alphabet='a,""\n\r ', max_size=14))
def test_broken_text_is_refused_wherever_python_refuses_it(text: str) -> None:
    """What is read is read as Python's strict reader does; blanks before a quote are refused."""
    lines = csv.reader(io.StringIO(f"id,name\n{text}", newline=""), strict=True)
    try:
        expected = [row for row in lines if row]
    except csv.Error:
        expected = []
    is_whole = bool(expected) and all(len(row) == 2 for row in expected)
    with TemporaryDirectory() as folder:
        write(Path(folder, "a.csv"), f"id,name\n{text}")
        opened = files(folder, csv={"quote": '"', "delimiter": ","})
        try:
            found = rows(opened, "id", "name")
        except SourceError as error:
            refused = str(error)
        else:
            assert is_whole
            assert [[cell or "" for cell in row] for row in found] == expected[1:]
            return
    assert not is_whole or "blanks before" in refused
