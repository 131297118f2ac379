"""The commands on the page about the command line do what the page says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from profile_pipelines_tests.cli.conftest import Command

pytestmark = pytest.mark.xdist_group("cli")
_PAGE = Path(__file__).parents[2] / "docs" / "command-line.md"


def _commands() -> list[tuple[list[str], int]]:
    """The arguments and the exit code of each command in a bash block."""
    found: list[tuple[list[str], int]] = []
    for block in re.findall(r"^```bash\n(.*?)^```", _PAGE.read_text(), re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            words = shlex.split(line.partition(" > ")[0], comments=True)
            code = re.search(r"# exits (\d+)", line)
            assert words[0] == "profile-pipelines"
            found.append((words[1:], int(code[1]) if code else 0))
    return found


def test_every_command_runs(command: Command, home: Path) -> None:
    """In the order of the page, on a demo, each ends with the code that is told."""
    commands = _commands()
    assert len(commands) > 20
    for arguments, code in commands:
        done = command(*arguments)
        assert done.code == code, (arguments, done.err)


def test_every_command_is_documented(command: Command) -> None:
    """Each command and each of its options stands on the page."""
    page = _PAGE.read_text()
    names = re.findall(r"^  (\w+)  ", command("--help").out.partition("Commands:")[2], re.MULTILINE)
    assert {"run", "sync", "profile", "demo"} <= set(names)
    groups = {"profile": ["show"], "profiles": ["export"]}
    groups["audience"] = ["list", "preview", "members"]
    groups["journey"] = ["list", "status", "test", "explain", "diff"]
    groups["outbox"] = ["status", "list", "send", "retry", "settle", "preview"]
    groups["destination"] = ["list", "sync", "status", "retry", "empty"]
    groups["consent"] = ["history", "restore", "suppress", "suppressed"]
    groups["sources"] = ["", "show"]
    groups["webhooks"] = ["serve", "status"]
    groups["demo"] = ["", "change", "follow", "up", "reset"]
    for name in names:
        for part in groups.get(name, [""]):
            words = [word for word in (name, part) if word]
            assert " ".join(words) in page
            for option in re.findall(r"--[a-z-]+", command(*words, "--help").out):
                assert option in page or option in ("--help",), (words, option)
