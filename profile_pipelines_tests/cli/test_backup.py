"""`backup` and `restore` as people use them."""

from __future__ import annotations

from pathlib import Path

import pytest

from profile_pipelines_tests.cli.conftest import Command

pytestmark = pytest.mark.xdist_group("cli")


def test_damage_and_what_is_there_end_with_5(command: Command, home: Path, tmp_path: Path) -> None:
    """Nothing is put over what is there unasked; a damaged backup is told with its file."""
    taken = command("backup", "backups", "--json")
    assert (taken.code, taken.json["removed"]) == (0, [])
    listed = command("backup", "backups", "--list", "--json").json
    assert [each["backup"] for each in listed] == [taken.json["backup"]]
    refused = command("restore", "backups")
    assert refused.code == 5
    assert "nothing was restored: the lake" in refused.err
    assert "--replace" in refused.err
    unasked = command("restore", "backups", "--replace")
    assert unasked.code == 2
    assert "give --yes" in unasked.err
    damaged = next((tmp_path / "backups" / "lake").rglob("*.parquet"))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    checked = command("restore", "backups", "--check", "--json")
    assert (checked.code, checked.json["sound"]) == (5, False)
    assert str(damaged) in checked.json["wrong"][0]
    damaged.unlink()
    assert command("backup", "backups").code == 0
    assert command("restore", "backups", "--check").code == 0
    assert command("backup", str(home / "lake" / "backups")).code == 5
    assert command("backup", "ftp://somewhere/backups").code == 5
