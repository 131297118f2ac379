"""What a command works on: the places, the workspace, and the demo's systems when it uses them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from profile_pipelines.cli.options import DEMO_FOLDER
from profile_pipelines.cli.output import note
from profile_pipelines.errors import NotFound

if TYPE_CHECKING:
    from profile_pipelines.reading import Customers
    from profile_pipelines.workspace import Places, Workspace

CATALOG, LAKE, LEDGER = (f"PROFILE_PIPELINES_{name}" for name in ("CATALOG", "LAKE", "LEDGER"))


def demo_folder() -> Path:
    """Where the demo's systems, lake and ledger are."""
    return Path(os.environ.get("PROFILE_PIPELINES_DEMO") or DEMO_FOLDER)


def places() -> Places:
    """The places that the environment and the global options name."""
    from profile_pipelines.workspace import Places

    return Places.from_environment(demo_folder())


def open_workspace() -> Workspace:
    """The workspace. Raises CatalogueError."""
    from profile_pipelines.workspace import Workspace

    return Workspace(places())


def open_customers() -> Customers:
    """The workspace for reading. Raises NotFound while there are no profiles."""
    from profile_pipelines.reading import Customers

    workspace = open_workspace()
    if not workspace.lake.profiles(workspace.catalogue).pin().exists:
        raise NotFound(
            f"the lake {workspace.places.lake} holds no profiles yet; bring them in with "
            "`profile-pipelines run`, or look at the demo with `profile-pipelines demo`"
        )
    return Customers(workspace)


@contextmanager
def reachable_systems() -> Iterator[None]:
    """Start the demo's systems for the time of a command when no other catalogue is named."""
    if os.environ.get(CATALOG):
        yield
        return
    from profile_pipelines.demo.store import STORE
    from profile_pipelines.demo.systems import DemoSystems

    folder = demo_folder()
    note(f"no catalogue is named: using the demo's, with its sample systems in {folder}")
    systems = DemoSystems(folder)
    if not (folder / STORE).exists():
        systems.create()
    try:
        os.environ.update(systems.start())
        yield
    finally:
        systems.stop()
