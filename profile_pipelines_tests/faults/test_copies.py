"""What fails while the ledger is copied whole is an error of the ledger."""

from __future__ import annotations

from pathlib import Path

import pytest

from profile_pipelines.errors import LakeError
from profile_pipelines.ledger import Ledger
from profile_pipelines.ledger.copies import copy_in, copy_out


def test_a_ledger_that_cannot_be_copied_is_told(tmp_path: Path) -> None:
    """With both places and the reason, on the way out and back."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    Ledger(url)
    copy = tmp_path / "copy.db"
    assert copy_out(url, copy, lambda pair: True)
    (tmp_path / "folder").mkdir()
    with pytest.raises(LakeError, match=r"copied from .*ledger\.db to .*folder: unable to open"):
        copy_out(url, tmp_path / "folder", lambda pair: True)
    copy.write_text("no database" * 99)
    with pytest.raises(LakeError, match=r"copied from .*copy\.db to .*ledger\.db: file is not a"):
        copy_in(copy, url)
