"""Faults one by one: a command of a small company in a process that is killed, or whose disk fails,
at one of its writes; then the commands that put it right; then what came of it.

A program of its own, since it forks:

    python -m profile_pipelines_tests.faults.trials FOLDER [--seed N] [--trials N | --minutes N]
        [--stage NAME] [--kind KIND] [--at N[,N]]

prints a line of JSON for each trial. The same seed tries the same points; `--stage`, `--kind` and
`--at` repeat one.
"""

from __future__ import annotations

import argparse
import errno
import gc
import importlib
import json
import os
import random
import re
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from email import message_from_string
from itertools import groupby
from pathlib import Path
from typing import Any

# What commands import late is imported here as far as it is known beforehand.
import duckdb as _duckdb
import scipy.sparse.csgraph as _csgraph

from profile_pipelines.catalog.load import load_catalogue
from profile_pipelines.orchestration import run as _run
from profile_pipelines_tests.channels.sinks import Sink, sink
from profile_pipelines_tests.faults.watched import (
    TAKES_SPACE,
    Decide,
    Ending,
    Event,
    supported,
    watched,
)
from profile_pipelines_tests.faults.world import (
    MARKER,
    STAGES,
    Stage,
    World,
    left_behind,
    logs_with_values,
    told,
    unfinished,
)
from profile_pipelines_tests.privacy import canaries

_IMPORTED = (_duckdb, _csgraph, _run)
KINDS = ("kill", "kill twice", "torn", "full", "EIO")
_MAY_END_WITH = {0, 1, 5}
_NEVER = re.compile(
    r"Traceback|Unexpected error|error of the program|\b\w+Error\b(?! \()|"
    rf"{MARKER}|canary|4242424242",
    re.IGNORECASE,
)
_OF_RUST = re.compile(
    r"^(thread '.*' \(\d+\) panicked at .*|Already shut down|stack backtrace:|\s*\d+: .*|\s+at .*|"
    r"note: .*backtrace.*)?\n", re.MULTILINE)  # fmt: skip
"""What delta-rs writes by itself when a disk fails in one of its threads; Python can't keep it from
that, and gets the error besides."""
_REASONS = re.compile(
    r"No space left|Input/output error|disk I/O error|database or disk is full|free some|"
    r"unable to open database|in doubt|outbox settle",
)


@dataclass(frozen=True)
class Trial:
    """One fault; `at` are the numbers of the events, a second one in the first recovery."""

    stage: str
    kind: str
    at: tuple[int, ...]


@dataclass
class Outcome:
    """What came of a trial; `wrong` says what must not be."""

    stage: str
    kind: str
    at: tuple[int, ...]
    event: str = "none: it ended before"
    code: int | None = None
    in_doubt: int = 0
    said: str = ""
    wrong: list[str] = field(default_factory=list[str])


@dataclass
class _Twin:
    """An undisturbed stage: where it begins, its events, and what the company holds after it and
    the commands that put things right."""

    stage: Stage
    before: Path
    events: list[Event]
    holds: dict[str, Any]
    came: dict[str, int]
    """How many messages had come before, by channel."""


class Trials:
    """A company in `folder`, and what happens in it."""

    def __init__(self, folder: Path, mail: Sink, hook: Sink) -> None:
        self._folder, self._mail, self._hook = folder, mail, hook
        self.world = World(folder / "world", mail.port, hook.port)
        self.twins: dict[str, _Twin] = {}

    def prepare(self, only: str | None) -> None:
        """The stages one after the other, undisturbed."""
        self._forked(self.world.create)
        load_catalogue(self.world.folder / "catalog")  # its models are built once then
        for stage in STAGES:
            self._forked(lambda stage=stage: stage.prepare(self.world))
            before = self._folder / f"before {stage.name}"
            shutil.copytree(self.world.folder, before)
            came = {"mail": len(self._mail.taken), "hook": len(self._hook.taken)}
            ending = self._watched(stage.step, lambda event: None)
            assert ending.code == 0, self._said()
            recovered = self._recovered(stage)
            assert not recovered["wrong"], recovered
            holds = recovered["holds"]
            self.twins[stage.name] = _Twin(stage, before, ending.events, holds, came)
            if only == stage.name:
                break
        gc.collect()
        gc.freeze()  # no forked process looks through what is here

    def points(self, name: str, kind: str) -> list[int]:
        """The numbers of the events of a stage that are worth a trial of this kind: of writes to
        the same file in a row the first one alone."""
        events = self.twins[name].events
        rows = groupby(events, key=lambda event: (event.call, event.path))
        first = [next(each) for _, each in rows]
        match kind:
            case "torn":
                first = [each for each in first if each.call in ("write", "pwrite64")]
            case "full":
                first = [each for each in first if each.call in TAKES_SPACE and each.path]
            case "EIO":
                first = [each for each in first if each.path]
            case _:
                pass
        return [each.number for each in first]

    def chosen(self, seed: int, only: Callable[[Trial], bool]) -> Iterator[Trial]:
        """All trials there are, in the order that the seed gives; with every stage and every kind
        from the beginning on."""
        order = random.Random(seed)
        lists: list[list[Trial]] = []
        for kind in KINDS:
            for name, twin in self.twins.items():
                numbers = self.points(name, kind)
                second = len(twin.events)
                trials = [
                    Trial(
                        name, kind, (n, order.randint(1, second)) if kind == "kill twice" else (n,)
                    )
                    for n in numbers
                ]
                order.shuffle(trials)
                if kept := [each for each in trials if only(each)]:
                    lists.append(kept)
        total = [(place / len(each), trial) for each in lists for place, trial in enumerate(each)]
        # the beginning of each list first, then by share
        heads = [each.pop(0) for each in lists]
        order.shuffle(heads)
        yield from heads
        rest = [(share, number, trial) for number, (share, trial) in enumerate(total)]
        done = set(heads)
        yield from (trial for _, _, trial in sorted(rest) if trial not in done)

    def run(self, trial: Trial) -> Outcome:
        """The command with its fault, the commands that put it right, and a look at all of it."""
        twin = self.twins[trial.stage]
        stage = twin.stage
        outcome = Outcome(trial.stage, trial.kind, trial.at)
        self._put(twin.before)
        ending = self._watched(stage.step, _decision(trial.kind, trial.at[0]))
        self._note(outcome, ending, trial.at[0])
        if len(trial.at) > 1:
            ending = self._watched(stage.recover[0], _decision("kill", trial.at[1]))
            outcome.event += f", then {_shown(self.world, ending, trial.at[1])}"
        recovered = self._recovered(stage)
        outcome.wrong += recovered["wrong"]
        if recovered["holds"]:
            outcome.wrong += self._compared(twin, recovered["holds"], outcome)
        outcome.wrong += self._traces(stage, recovered["process"])
        return outcome

    def _note(self, outcome: Outcome, ending: Ending, number: int) -> None:
        """What the command that had the fault came to."""
        outcome.event = _shown(self.world, ending, number)
        outcome.code = ending.code
        said = self._said()
        outcome.said = "\n".join(line for line in said.splitlines() if _REASONS.search(line))
        if found := sorted({each.group() for each in _NEVER.finditer(said)}):
            outcome.wrong.append(f"says {', '.join(found)}: {said[-1500:]}")
        if ending.code is None:
            return
        if ending.code not in _MAY_END_WITH:
            outcome.wrong.append(f"ends with {ending.code}: {said[-1500:]}")
        elif ending.code != 0 and not outcome.said:
            outcome.wrong.append(f"ends with {ending.code} and no reason: {said[-1500:]}")

    def _recovered(self, stage: Stage) -> dict[str, Any]:
        """What the commands that put things right come to, in a process of its own each."""
        wrong: list[str] = []
        holds: dict[str, Any] = {}
        for step in stage.recover:
            last = step is stage.recover[-1]
            given = self._forked(
                lambda step=step, last=last: [step(self.world), told(self.world) if last else None]
            )
            said = self._said()
            may = {0, 1} if "outbox settle" in said else {0}
            if not isinstance(given, list) or given[0] not in may or _NEVER.search(said):
                wrong.append(f"the next run ends with {given}: {said[-1500:]}"[:3000])
            elif last:
                holds = given[1]
        return {"wrong": wrong, "process": self._last, "holds": holds}

    def _compared(self, twin: _Twin, holds: dict[str, Any], outcome: Outcome) -> list[str]:
        wrong: list[str] = []
        for name in sorted(set(twin.holds) | set(holds)):
            expected, found = twin.holds.get(name), holds.get(name)
            if name == "messages" and expected is not None and found is not None:
                doubtful = {m for m, state in found.items() if state == "unknown"}
                outcome.in_doubt = len(doubtful)
                expected = {m: "unknown" if m in doubtful else s for m, s in expected.items()}
                if len(doubtful) > len(outcome.at):
                    wrong.append(f"{len(doubtful)} messages are in doubt")
            if name == "log" and outcome.code is not None:
                continue  # it went on with what it had, and the next run with the rest
            if found != expected:
                wrong.append(f"{name} is {found}, not {expected}"[:1500])
        return [*wrong, *self._arrived(twin, holds.get("messages", {}))]

    def _arrived(self, twin: _Twin, messages: dict[str, str]) -> list[str]:
        """Every message came once at most; those that were sent did."""
        mails = Counter(message_from_string(e["mail"])["Message-ID"] for e in self._mail.taken)
        hooks = Counter(e["headers"]["Idempotency-Key"] for e in self._hook.taken)
        bodies = {(e["headers"]["Idempotency-Key"], e["body"]) for e in self._hook.taken}
        wrong = [f"the mail {each} came {n} times" for each, n in mails.items() if n > 1]
        if len(bodies) != len(hooks):
            wrong.append("the same key came with different words")
        for channel, came in (("mail", len(mails)), ("hook", len(hooks))):
            states = Counter(s for m, s in messages.items() if m.split()[2] == channel)
            all_ = came + twin.came[channel]
            if not states["sent"] <= all_ <= states["sent"] + states["unknown"]:
                wrong.append(f"{all_} came over {channel}, but the ledger says {dict(states)}")
        return wrong

    def _traces(self, stage: Stage, process: int) -> list[str]:
        """Personal data where it must not be."""
        wrong = [f"{each} holds personal data" for each in logs_with_values(self.world)]
        if lying := left_behind(self.world, process):
            wrong.append(f"temporary data is left behind: {lying}")
        wrong += [f"{each} is left behind" for each in unfinished(self.world)]
        if stage.name == "erase" and (found := canaries.found(self.world.folder)):
            wrong.append(f"who was erased is still in {found}")
        return wrong

    def _put(self, before: Path) -> None:
        shutil.rmtree(self.world.folder)
        shutil.copytree(before, self.world.folder)
        for each in (self._mail, self._hook):
            for path in each.folder.glob("*.taken"):
                path.unlink()

    def _watched(self, step: Callable[[World], int], decide: Decide) -> Ending:
        said = self._folder / "said.txt"

        def child() -> int:
            _speak_to(said)
            code = step(self.world)
            _flush()
            return code

        return watched(child, self.world.folder, decide)

    def _forked(self, step: Callable[[], Any]) -> Any:
        """What a step gives in a process of its own."""
        answer = self._folder / "answer.json"
        child = os.fork()
        if child == 0:
            status = 99
            try:
                _speak_to(self._folder / "said.txt")
                given = step()
                answer.write_text(json.dumps([given, _modules()], default=str))
                _flush()
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                _flush()
                os._exit(status)
        _, status = os.waitpid(child, 0)
        self._last = child
        if status:
            return f"failed with {os.waitstatus_to_exitcode(status)}"
        given, modules = json.loads(answer.read_text())
        _import(modules)
        return given

    def _said(self) -> str:
        return _OF_RUST.sub("", (self._folder / "said.txt").read_text(errors="replace"))


def _decision(kind: str, number: int) -> Decide:
    def decide(event: Event) -> int | str | None:
        if kind == "full":
            late = event.number >= number and event.path is not None
            return errno.ENOSPC if late and event.call in TAKES_SPACE else None
        if event.number != number:
            return None
        if kind == "EIO":
            return None if event.path is None else errno.EIO
        return "tear" if kind == "torn" else "kill"

    return decide


def _shown(world: World, ending: Ending, number: int) -> str:
    if len(ending.events) < number:
        return "none: it ended before"
    event = ending.events[number - 1]
    if event.path is None:
        return "send"
    path = str(event.path.relative_to(world.folder))
    return f"{event.call} {re.sub(r'[0-9a-f]{8}[-0-9a-f]*', '*', path)}"


def _speak_to(file: Path) -> None:
    handle = os.open(file, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.dup2(handle, 1)
    os.dup2(handle, 2)


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()


def _modules() -> list[str]:
    return list(sys.modules)


def _import(modules: list[str]) -> None:
    """What a command imported late, this process imports, too: the next ones find it there."""
    for name in modules:
        if name not in sys.modules and not name.startswith("__"):
            with suppress(Exception):
                importlib.import_module(name)


def main() -> None:
    """Runs the trials; a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--trials", type=int)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--stage", choices=[each.name for each in STAGES])
    parser.add_argument("--kind", choices=KINDS)
    parser.add_argument("--at", type=lambda text: tuple(map(int, text.split(","))))
    given = parser.parse_args()
    if not supported():
        sys.exit("this machine doesn't tell of system calls: that takes Linux 5.5 or newer")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    began = time.monotonic()
    with (
        sink("smtp", given.folder / "mail") as mail,
        sink("http", given.folder / "hook") as hook,
    ):
        trials = Trials(given.folder, mail, hook)
        trials.prepare(given.stage)
        if given.at:
            chosen: Iterator[Trial] = iter([Trial(given.stage, given.kind, given.at)])
        else:
            chosen = trials.chosen(
                given.seed,
                lambda trial: (
                    given.stage in (None, trial.stage) and given.kind in (None, trial.kind)
                ),
            )
        kinds = {k: {n: len(trials.points(n, k)) for n in trials.twins} for k in KINDS}
        _tell({"points": kinds, "seed": given.seed})
        for number, trial in enumerate(chosen):
            if given.trials is not None and number >= given.trials:
                break
            if given.minutes is not None and time.monotonic() - began > 60 * given.minutes:
                break
            _tell(asdict(trials.run(trial)))


def _tell(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
