from __future__ import annotations

from collections.abc import Iterator

import pytest

from profile_pipelines_tests.sources.api_server import Api, serving


@pytest.fixture(scope="module")
def server() -> Iterator[Api]:
    with serving() as api:
        yield api


@pytest.fixture
def api(server: Api) -> Api:
    server.answers = {}
    server.faults = []
    server.requests = []
    server.bodies = []
    return server
