"""`demo`: the whole path, and the changes between two runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from profile_pipelines_tests.cli.conftest import CUSTOMERS, Command

pytestmark = pytest.mark.xdist_group("cli")


def test_first_run_shows_everything(command: Command, tmp_path: Path) -> None:
    """Systems, profiles, attributes, audiences, three profiles with receipts, and what's next."""
    done = command("demo", "--customers", 60, "--seed", 3, "--folder", "small")
    assert done.code == 0, done.err
    assert "making sample systems with 60 customers" in done.err
    assert re.search(r"crm\.contacts: \d+ rows read", done.err)
    for heading in ("quarantined", "filled", "fresh within", "members", "held by"):
        assert heading in done.out
    assert len(re.findall(r"^Profile \d+ ", done.out, re.MULTILINE)) == 3
    assert re.search(r"email_opt_in +\d+%", done.out)
    assert "export PROFILE_PIPELINES_DEMO=small" in done.out
    assert (tmp_path / "small" / "lake").is_dir()


def test_second_run_shows_what_changed(command: Command, home: Path) -> None:
    """Without changes nothing is written; after `demo change` just those are picked up.

    It keeps to its own catalogue and lake, whatever else is named, and says so.
    """
    idle = command("demo", "--catalog", "my_catalog", "--lake", "my_lake")
    assert idle.code == 0
    assert "Nothing has changed: nothing was written." in idle.out
    assert "unset PROFILE_PIPELINES_CATALOG" in idle.out
    assert not Path("my_lake").exists()

    counts = command("demo", "change", "--share", "0.1", "--seed", "1", "--json").json
    assert set(counts) >= {"renewals_confirmed", "consents_withdrawn", "customers_added"}
    done = command("demo")
    assert done.code == 0
    assert "Some that changed" in done.out
    assert "→" in done.out
    changed = re.search(r"(\d+) new, (\d+) changed, (\d+) removed", done.out)
    assert changed is not None
    assert 0 < int(changed[2]) < CUSTOMERS
    assert int(changed[1]) >= 1


def test_a_customer_is_followed_out_of_the_journey(command: Command, home: Path) -> None:
    """Reminded, confirms in billing, and has left after the next sync; with no message more."""
    done = command("demo", "follow")
    assert done.code == 0, done.err
    before, _, after = done.out.partition("The customer confirms")
    assert "active in renewal_reminder" in before
    assert "exited in renewal_reminder" in after
    assert "ended because: exit_when" in after
    assert done.out.count("message: ") == 2
    outbox = command("outbox", "list", "--json", "--state", "sent", "--limit", "9999").json
    assert len({row["message_id"] for row in outbox}) == len(outbox)


def test_other_customers_are_refused(command: Command, home: Path) -> None:
    """A folder with systems of other customers isn't overwritten."""
    done = command("demo", "--customers", CUSTOMERS + 1)
    assert done.code == 2
    assert f"of {CUSTOMERS} customers" in done.err


def test_reset(command: Command, home: Path) -> None:
    """`reset` deletes a demo, and nothing that isn't one."""
    other = home.parent / "precious"
    other.mkdir()
    assert command("demo", "reset", "--yes", "--folder", other).code == 3
    assert other.is_dir()
    unasked = command("demo", "reset")
    assert unasked.code == 2
    assert "--yes" in unasked.err
    assert home.is_dir()
    assert command("demo", "reset", "--yes").code == 0
    assert not home.exists()
    assert command("demo", "change").code == 3
