"""The long form of the faults: as many trials as the time allows, one process a core, and the
table of docs/reliability.md, which it writes.

    make test-faults FAULTS=long [FAULTS_SEED=N] [FAULTS_MINUTES=N]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from profile_pipelines_tests.faults.trials import KINDS
from profile_pipelines_tests.faults.world import STAGES

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reliability.md"
_BEGIN, _END = "<!-- the last long run -->", "<!-- its end -->"
_SHOWN = 20


def main(files: list[Path]) -> int:
    """Run the trials, or read what earlier ones printed; write the table. How many went wrong."""
    said = [each.read_text() for each in files] or _run()
    begun: list[dict[str, Any]] = []
    trials: list[dict[str, Any]] = []
    for first, *rest in ([json.loads(line) for line in text.splitlines()] for text in said):
        begun.append(first)
        trials += rest
    told = table(begun, trials)
    before, _, rest = PAGE.read_text().partition(_BEGIN)
    PAGE.write_text(f"{before}{_BEGIN}\n\n{told}\n{_END}{rest.partition(_END)[2]}")
    wrong = [each for each in trials if each["wrong"]]
    for each in wrong[:_SHOWN]:
        sys.stderr.write(f"{json.dumps(each, indent=1)}\n")
    sys.stdout.write(f"{told}\n")
    return len(wrong)


def _run() -> list[str]:
    seed = int(os.environ.get("FAULTS_SEED") or 1)
    minutes = os.environ.get("FAULTS_MINUTES") or "600"
    program = [sys.executable, "-m", "profile_pipelines_tests.faults.trials"]
    with tempfile.TemporaryDirectory(prefix="faults") as folder:
        running: list[tuple[subprocess.Popen[bytes], Path]] = []
        for number in range(os.cpu_count() or 1):
            place, told = Path(folder) / str(number), Path(folder) / f"{number}.jsonl"
            place.mkdir()
            arguments = [place, "--seed", str(seed + number), "--minutes", minutes]
            with told.open("wb") as output:
                started = subprocess.Popen([*program, *arguments], stdout=output, cwd=ROOT)
            running.append((started, told))
        for process, _ in running:
            if process.wait():
                raise SystemExit("a process of trials broke off; its words are above")
        return [told.read_text() for _, told in running]


def table(begun: list[dict[str, Any]], trials: list[dict[str, Any]]) -> str:
    """What was tried and what came of it, as Markdown."""
    by_place: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for each in trials:
        by_place[each["stage"], each["kind"]].append(each)
    seeds = ", ".join(str(each["seed"]) for each in begun)
    lines = [
        f"{datetime.now(UTC):%Y-%m-%d}, seeds {seeds}: {len(trials):,} trials.",
        "",
        "| command | fault | places | tried | killed | ended with | in doubt | wrong afterwards |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for stage in STAGES:
        for kind in KINDS:
            found = by_place[stage.name, kind]
            codes = Counter(each["code"] for each in found)
            killed = codes.pop(None, 0)
            ended = ", ".join(f"{code} ({count}×)" for code, count in sorted(codes.items()))
            doubt = sum(each["in_doubt"] for each in found)
            wrong = sum(bool(each["wrong"]) for each in found)
            places = begun[0]["points"][kind][stage.name]
            lines.append(
                f"| {stage.name} | {kind} | {places:,} | {len(found):,} | {killed:,} "
                f"| {ended or '–'} | {doubt} | {wrong} |"
            )
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(min(main([Path(each) for each in sys.argv[1:]]), 1))
