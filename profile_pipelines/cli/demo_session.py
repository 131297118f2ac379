"""The demo's systems and workspace for the time of a command."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

from profile_pipelines.cli.moments import present
from profile_pipelines.cli.output import note, spell_count
from profile_pipelines.cli.progress import making, watching
from profile_pipelines.cli.session import CATALOG, LAKE, LEDGER
from profile_pipelines.demo.store import STORE
from profile_pipelines.demo.systems import DemoSystems
from profile_pipelines.errors import ProfilePipelinesError
from profile_pipelines.pipeline import DueSync, due_syncs
from profile_pipelines.report import RunReport
from profile_pipelines.workspace import DEMO_CATALOGUE, Places, Workspace, refusals_beside

_CUSTOMERS, _SEED = 5000, 7
_STOP_WITHIN = 30
_LOOK_EVERY = 0.2
_DAGSTER = (
    *(sys.executable, "-W", "ignore:Function `dev_command` is superseded"),
    *("-m", "dagster", "dev", "-m", "profile_pipelines.definitions"),
)
_DAGSTER_YAML = Path(__file__).parents[1] / "orchestration" / "local.yaml"


def demo_places(folder: Path) -> Places:
    """The demo keeps to its own catalogue and folder, whatever the environment names."""
    home = folder.resolve()
    lake = home / "lake"
    ledger = f"sqlite:///{home / 'ledger.db'}"
    return Places(DEMO_CATALOGUE, lake, ledger, refusals_beside(lake))


class DemoSession:
    """Makes the systems unless the folder has them, starts them, and stops them at the end.

    `customers` and `seed` None take those that are there. Raises ProfilePipelinesError when the
    folder holds systems of other customers.
    """

    def __init__(
        self, folder: Path, customers: int | None, seed: int | None, now: str | None
    ) -> None:
        self._folder = folder
        self._places = demo_places(folder)
        self._asked = customers is not None or seed is not None
        self._customers = customers if customers is not None else _CUSTOMERS
        self._systems = DemoSystems(folder, self._customers, seed if seed is not None else _SEED)
        self.workspace = Workspace(self._places)
        self.now = present(now, self.workspace.catalogue.settings.timezone)

    def __enter__(self) -> Self:
        there = (self._folder / STORE).exists()
        if not there:
            told = f"making sample systems with {spell_count(self._customers)} customers"
            with making(f"{told} in {self._folder}") as progress:
                self._systems.create(progress)
        elif self._asked:
            self._systems.create()
        os.environ.update(self._systems.start())
        # the demo's runs belong in the demo's own Dagster, or else nowhere
        os.environ.pop("DAGSTER_HOME", None)
        if self._dagster_home.exists():
            os.environ["DAGSTER_HOME"] = str(self._dagster_home)
        return self

    def __exit__(self, *exception: object) -> None:
        self._systems.stop()

    @property
    def is_new(self) -> bool:
        """Whether nothing was run here yet."""
        return not self.workspace.lake.profiles(self.workspace.catalogue).pin().exists

    @property
    def _dagster_home(self) -> Path:
        return self._folder.resolve() / "dagster"

    def run_everything(self) -> RunReport:
        """Every sync and what follows from it, with progress."""
        return self.run(due_syncs(self.workspace, self.now, everything=True))

    def run(self, selection: list[DueSync]) -> RunReport:
        """Some syncs and what follows from them, with progress."""
        from profile_pipelines.orchestration.journeys import downstream_keys
        from profile_pipelines.orchestration.run import run_in_process

        with watching(len(selection) + len(downstream_keys(self.workspace.catalogue))) as progress:
            return run_in_process(self.workspace, selection, now=self.now, progress=progress)

    def serve_dagster(self, port: int) -> None:
        """Run everything once if Dagster has no record of it, then serve until interrupted."""
        home = self._dagster_home
        new = not home.exists()
        home.mkdir(parents=True, exist_ok=True)
        settings = home / "dagster.yaml"
        if not settings.exists():
            shutil.copyfile(_DAGSTER_YAML, settings)
        os.environ |= {
            "DAGSTER_HOME": str(home),
            CATALOG: str(self._places.catalogue),
            LAKE: str(self._places.lake),
            LEDGER: self._places.ledger,
        }
        if new:
            self.run_everything()
        _serve(port)


def _serve(port: int) -> None:
    """Run Dagster until it ends or a signal asks for it.

    The signals are noted, not raised: one that arrived while the process was being started would
    leave it running with nobody to end it.
    """
    asked: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, lambda number, _: asked.append(number))
    try:
        # a session of its own, which Ctrl-C spares: it is ended in order
        command = [*_DAGSTER, "--host", "127.0.0.1", "--port", str(port)]
        serving = subprocess.Popen(command, start_new_session=True)
        note(f"Dagster comes up at http://127.0.0.1:{port} (Ctrl-C ends it and the systems)")
        note("in another terminal: profile-pipelines demo change")
        while not asked and serving.poll() is None:
            time.sleep(_LOOK_EVERY)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if asked:
        _end(serving)
    elif serving.returncode:
        raise ProfilePipelinesError(f"dagster dev ended with code {serving.returncode}")


def _end(serving: subprocess.Popen[bytes]) -> None:
    """End Dagster with all its processes; a second Ctrl-C ends them at once."""
    try:
        serving.send_signal(signal.SIGTERM)
        serving.wait(_STOP_WITHIN)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        pass
    finally:
        # what it had started before it could listen to signals is left by it
        with suppress(ProcessLookupError):
            os.killpg(serving.pid, signal.SIGKILL)
        serving.wait()
