"""Vendure: a shop with a GraphQL API, from npm. https://docs.vendure.io"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from profile_pipelines_tests.live.installs import node_environment
from profile_pipelines_tests.live.running import System, free_port, running

SECRET = "superadmin-pass-1"
_SERVER = Path(__file__).parent / "systems" / "vendure.mjs"
_CREATE = """
mutation ($input: CreateCustomerInput!) {
  createCustomer(input: $input, password: "customer-pass-1") { ... on Customer { id } }
}
"""


def install() -> Path:
    return node_environment("vendure", "@vendure/core@3.7.3", "sql.js@1.14.2")


@contextmanager
def serving(environment: Path, folder: Path) -> Iterator[System]:
    """The server with three customers, of whom the first is in the group gold."""
    # Node finds packages from the file's own folder upwards
    server = environment / "server.mjs"
    shutil.copy(_SERVER, server)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    settings = {"PORT": str(port), "ADMIN_PASSWORD": SECRET, "NODE_ENV": "development"}
    command = ["node", server]
    with running(command, f"{url}/health", folder / "log", environment=settings, cwd=environment):
        system = System(url, SECRET)
        ids: list[str] = []
        for name in ("anna", "bo", "cem"):
            customer = {"firstName": name, "lastName": "Ek", "emailAddress": f"{name}@example.com"}
            ids.append(ask(system, _CREATE, input=customer)["createCustomer"]["id"])
        join(system, ids[:1])
        yield system


def join(system: System, customers: list[str]) -> None:
    """Put customers into the group gold, which is made if need be."""
    found = ask(system, "{ customerGroups { items { id } } }")["customerGroups"]["items"]
    if not found:
        made = ask(system, 'mutation { createCustomerGroup(input: {name: "gold"}) { id } }')
        found = [made["createCustomerGroup"]]
    ask(
        system,
        "mutation ($g: ID!, $c: [ID!]!) {"
        " addCustomersToGroup(customerGroupId: $g, customerIds: $c) { id } }",
        g=found[0]["id"],
        c=customers,
    )


def ask(system: System, query: str, **variables: Any) -> dict[str, Any]:
    """What the administrator's API answers."""
    login = f'mutation {{ login(username: "superadmin", password: "{SECRET}") {{ __typename }} }}'
    with system.client() as client:
        token = client.post("/admin-api", json={"query": login}).headers["vendure-auth-token"]
        answer = client.post(
            "/admin-api",
            json={"query": query, "variables": variables},
            headers={"authorization": f"Bearer {token}"},
        ).json()
    assert "errors" not in answer, answer
    return answer["data"]
