from collections.abc import Callable

import httpx
import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request

from profile_pipelines.demo import DemoSystems
from profile_pipelines.demo.gate import Gate


class Clock:
    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


def request(authorization: str) -> Request:
    headers = [(b"authorization", authorization.encode())]
    return Request({"type": "http", "headers": headers})


def test_the_window_opens_again_after_its_time():
    """What exceeds the limit waits for the rest of the window, in whole seconds."""
    clock = Clock()
    gate = Gate(["Bearer key"], requests=2, seconds=10, clock=clock)
    gate.check(request("Bearer key"))
    clock.now += 3.5
    gate.check(request("bearer key"))
    with pytest.raises(HTTPException) as refused:
        gate.check(request("Bearer key"))
    assert refused.value.status_code == 429
    assert refused.value.headers == {"Retry-After": "7"}
    clock.now += 7
    gate.check(request("Bearer key"))


def test_refused_credentials_use_up_nothing():
    """Strangers can't use up the limit of those who may."""
    gate = Gate(["Bearer key"], requests=1, clock=Clock())
    for _ in range(3):
        with pytest.raises(HTTPException, match="401"):
            gate.check(request("Bearer wrong"))
    gate.check(request("Bearer key"))


def test_billing_answers_429_when_asked_too_fast(make: Callable[..., DemoSystems]):
    """A fast client is told how long to wait."""
    systems = make(customers=20)
    systems.create()
    environment = systems.start()
    headers = {"Authorization": f"Bearer {environment['BILLING_API_KEY']}"}
    url = environment["BILLING_URL"] + "/v1/customers?limit=1"
    with httpx.Client(headers=headers) as client:
        refused = next(a for a in (client.get(url) for _ in range(10_000)) if a.status_code == 429)
    assert refused.headers["Retry-After"] == "1"
