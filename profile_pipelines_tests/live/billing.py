"""localstripe: a stateful server with Stripe's API. https://github.com/adrienverge/localstripe"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from profile_pipelines_tests.live.installs import python_environment
from profile_pipelines_tests.live.running import System, free_port, running

SECRET = "sk_test_live"


def install() -> Path:
    return python_environment("localstripe", "localstripe==1.15.10")


@contextmanager
def serving(environment: Path, folder: Path) -> Iterator[System]:
    """The server with a plan, and three customers who have subscribed to it."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [environment / "bin" / "python", "-m", "localstripe", "--from-scratch"]
    command += ["--port", str(port)]
    with running(command, url, folder / "log", environment={}, cwd=folder):
        system = System(url, SECRET)
        plan = {"id": "gold", "amount": 1999, "currency": "eur", "interval": "month"}
        post(system, "plans", {**plan, "product[name]": "Gold"})
        card = {"card[number]": "4242424242424242", "card[cvc]": "123"}
        card |= {"card[exp_month]": "12", "card[exp_year]": "2040"}
        for number, name in enumerate(("anna", "bo", "cem"), 1):
            customer = post(
                system,
                "customers",
                {
                    "email": f"{name}@example.com",
                    "address[country]": "DE",
                    "metadata[customer_no]": f"C-{number}",
                    "source": post(system, "tokens", card)["id"],
                },
            )
            post(system, "subscriptions", {"customer": customer["id"], "items[0][plan]": "gold"})
        yield system


def post(system: System, path: str, form: dict[str, Any]) -> dict[str, Any]:
    """A request as Stripe's own clients make it."""
    with system.client(auth=(SECRET, "")) as client:
        return client.post(f"/v1/{path}", data=form).raise_for_status().json()


def get(system: System, path: str) -> dict[str, Any]:
    with system.client(auth=(SECRET, "")) as client:
        return client.get(f"/v1/{path}").raise_for_status().json()
