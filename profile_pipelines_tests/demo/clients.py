"""Plain clients of the demo's APIs, as their makers' documentation would have them."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx


@dataclass
class Clients:
    folder: Path
    environment: Mapping[str, str]

    def billing(self, path: str, **params: object) -> httpx.Response:
        key = self.environment["BILLING_API_KEY"]
        url = self.environment["BILLING_URL"] + path
        return _get(url, params, headers={"Authorization": f"Bearer {key}"})

    def shop(self, **params: object) -> httpx.Response:
        names = ("ECOMMERCE_KEY", "ECOMMERCE_SECRET")
        user, password = (self.environment[name] for name in names)
        url = self.environment["ECOMMERCE_URL"] + "/wp-json/wc/v3/customers"
        return _get(url, params, auth=(user, password))

    def support(self, **params: object) -> httpx.Response:
        url = self.environment["SUPPORT_URL"] + "/api/v2/incremental/users/cursor.json"
        return self.support_url(url, **params)

    def support_url(self, url: str, **params: object) -> httpx.Response:
        token = self.environment["SUPPORT_TOKEN"]
        return _get(url, params or None, auth=("agent@example.com/token", token))

    def all_of_billing(self, path: str, **params: object) -> Iterator[dict]:
        while True:
            page = self.billing(path, limit=100, **params).json()
            yield from page["data"]
            if not page["has_more"]:
                return
            params["starting_after"] = page["data"][-1]["id"]


def _get(url: str, params: Mapping | None, **options: object) -> httpx.Response:
    """A request that obeys Retry-After."""
    while True:
        answer = httpx.get(url, params=params, **options)  # pyright: ignore[reportArgumentType]
        if answer.status_code != 429:
            return answer
        time.sleep(int(answer.headers["Retry-After"]))
