"""The services' other ends, over real connections: each checks what it is sent and holds whom it
was given, by the vendor's published rules."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Answered = tuple[int, dict[str, Any]]


@dataclass
class Call:
    """One request as it came."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        assert self.headers["content-type"] == "application/json"
        return json.loads(self.body)


@dataclass
class FakeService:
    """Holds keys. `orders` tells the next answers: a status, a status with the seconds of
    Retry-After, `cut` (before anything is taken) or `hang up` (after it was)."""

    held: set[str] = field(default_factory=set[str])
    unknown: set[str] = field(default_factory=set[str])
    """Keys that it refuses."""
    orders: deque[Any] = field(default_factory=deque[Any])
    calls: list[Call] = field(default_factory=list[Call])
    url: str = ""

    def answer(self, call: Call) -> Answered:
        raise NotImplementedError

    @contextmanager
    def running(self) -> Iterator[FakeService]:
        """Serve on a port of its own."""
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _do(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                parts = urlsplit(self.path)
                call = Call(
                    self.command, parts.path, parse_qs(parts.query),
                    {name.lower(): value for name, value in self.headers.items()},
                    self.rfile.read(length),
                )  # fmt: skip
                service.calls.append(call)
                order = service.orders.popleft() if service.orders else None
                if order == "cut":
                    self.close_connection = True
                    return
                wait = None
                if isinstance(order, tuple):
                    order, wait = order
                status, body = (order, {}) if isinstance(order, int) else service.answer(call)
                if order == "hang up":
                    self.close_connection = True
                    return
                content = json.dumps(body).encode()
                self.send_response(status)
                if wait is not None:
                    self.send_header("Retry-After", str(wait))
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_POST = do_PUT = do_DELETE = _do  # noqa: N815

            def log_message(self, *args: Any) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
                """Say nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def _change(self, operation: str, keys: list[str]) -> list[int]:
        """Take what is known; the places of the others."""
        refused = [i for i, key in enumerate(keys) if operation == "add" and key in self.unknown]
        taken = {key for i, key in enumerate(keys) if i not in refused}
        self.held = self.held | taken if operation == "add" else self.held - taken
        return refused


@dataclass
class FakeWebhook(FakeService):
    seen: dict[str, bytes] = field(default_factory=dict[str, bytes])

    def to(self) -> dict[str, Any]:
        return {"type": "webhook", "url": f"{self.url}/hook", "secret": {"env": "OUT_SECRET"}}

    def answer(self, call: Call) -> Answered:
        stamp, signed = (p.partition("=")[2] for p in call.headers["webhook-signature"].split(","))
        expected = hmac.new(b"s3cret", f"{stamp}.".encode() + call.body, hashlib.sha256)
        assert hmac.compare_digest(signed, expected.hexdigest())
        assert (call.method, call.path) == ("POST", "/hook")
        told = call.json
        assert set(told) == {"id", "destination", "operation", "customers"}
        key = call.headers["idempotency-key"]
        assert key == told["id"]
        assert self.seen.setdefault(key, call.body) == call.body
        for each in told["customers"]:
            assert set(each) == (
                {"profile_id", "mail"} if told["operation"] == "add" else {"profile_id"}
            )
        keys = [str(each["profile_id"]) for each in told["customers"]]
        refused = self._change(told["operation"], keys)
        return 200, {
            "refused": [
                {"profile_id": told["customers"][i]["profile_id"], "reason": "unwanted"}
                for i in refused
            ]
        }


@dataclass
class FakeBraze(FakeService):
    """Holds the external ids whose attribute is true."""

    def to(self) -> dict[str, Any]:
        return {
            "type": "braze", "url": self.url, "api_key": {"env": "OUT_SECRET"},
            "external_id": "email", "attribute": "active",
        }  # fmt: skip

    def answer(self, call: Call) -> Answered:
        assert (call.method, call.path) == ("POST", "/users/track")
        assert call.headers["authorization"] == "Bearer s3cret"
        told = call.json["attributes"]
        assert 0 < len(told) <= 75
        errors: list[dict[str, Any]] = []
        for index, each in enumerate(told):
            if each["active"]:
                assert set(each) == {"external_id", "active", "mail"}
                if self._change("add", [each["external_id"]]):
                    errors.append({"type": "unwanted", "input_array": "attributes", "index": index})
            else:
                assert each["_update_existing_only"] is True
                assert each["mail"] is None
                self._change("remove", [each["external_id"]])
        answer = {"message": "success", "attributes_processed": len(told) - len(errors)}
        return 201, {**answer, **({"errors": errors} if errors else {})}


@dataclass
class FakeCustomerIo(FakeService):
    def to(self) -> dict[str, Any]:
        return {
            "type": "customer_io", "url": self.url, "site_id": "site",
            "api_key": {"env": "OUT_SECRET"}, "segment": 7, "person": "email", "id_type": "email",
        }  # fmt: skip

    def answer(self, call: Call) -> Answered:
        operation = call.path.removeprefix("/api/v1/segments/7/").removesuffix("_customers")
        assert operation in ("add", "remove")
        basic = base64.b64encode(b"site:s3cret").decode()
        assert call.headers["authorization"] == f"Basic {basic}"
        assert call.query == {"id_type": ["email"]}
        keys = call.json["ids"]
        assert 0 < len(keys) <= 1000
        if operation == "add" and self.unknown.intersection(keys):
            return 400, {"meta": {"error": "invalid id"}}
        self._change(operation, keys)
        return 200, {}


@dataclass
class FakeHubSpot(FakeService):
    """Its contacts are those of any address but the unknown ones."""

    def to(self) -> dict[str, Any]:
        return {
            "type": "hubspot_list", "url": self.url, "token": {"env": "OUT_SECRET"},
            "list_id": 12, "contact": "email",
        }  # fmt: skip

    def answer(self, call: Call) -> Answered:
        assert call.headers["authorization"] == "Bearer s3cret"
        told = call.json
        if call.path == "/crm/objects/2026-03/contacts/batch/read":
            assert told["idProperty"] == "email"
            emails = [each["id"] for each in told["inputs"]]
            assert 0 < len(emails) <= 100
            results = [
                {"id": f"9{email}", "properties": {"email": email}}
                for email in emails
                if email not in self.unknown
            ]
            return (200 if len(results) == len(emails) else 207), {"results": results}
        assert (call.method, call.path) == (
            "PUT",
            "/crm/lists/2026-03/12/memberships/add-and-remove",
        )
        assert set(told) == {"recordIdsToAdd", "recordIdsToRemove"}
        self._change("add", [each.removeprefix("9") for each in told["recordIdsToAdd"]])
        self._change("remove", [each.removeprefix("9") for each in told["recordIdsToRemove"]])
        return 200, {"recordIdsMissing": []}


@dataclass
class FakeMeta(FakeService):
    def to(self) -> dict[str, Any]:
        return {
            "type": "meta_audience", "url": f"{self.url}/v25.0", "audience_id": "77",
            "access_token": {"env": "OUT_SECRET"},
        }  # fmt: skip

    def answer(self, call: Call) -> Answered:
        assert call.path == "/v25.0/77/users"
        assert call.headers["authorization"] == "Bearer s3cret"
        payload = json.loads(parse_qs(call.body.decode())["payload"][0])
        assert payload["schema"] == ["EMAIL"]
        keys = [row[0] for row in payload["data"]]
        assert all(len(key) == 64 and int(key, 16) for key in keys)
        refused = self._change({"POST": "add", "DELETE": "remove"}[call.method], keys)
        samples = {keys[i]: "invalid" for i in refused}
        return 200, {
            "audience_id": "77", "session_id": "1", "num_received": len(keys),
            "num_invalid_entries": len(refused), "invalid_entry_samples": samples,
        }  # fmt: skip


@dataclass
class FakeGoogle(FakeService):
    def to(self) -> dict[str, Any]:
        return {
            "type": "google_customer_match", "url": self.url, "login_url": f"{self.url}/token",
            "client_id": "client", "client_secret": {"env": "OUT_SECRET"},
            "refresh_token": {"env": "OUT_SECRET"}, "account_id": "123", "audience_id": "456",
        }  # fmt: skip

    def answer(self, call: Call) -> Answered:
        if call.path == "/token":
            form = {name: values[0] for name, values in parse_qs(call.body.decode()).items()}
            assert form["grant_type"] == "refresh_token"
            assert form["refresh_token"] == form["client_secret"] == "s3cret"
            return 200, {"access_token": "fresh", "expires_in": 3599}
        assert call.headers["authorization"] == "Bearer fresh"
        operation = {"ingest": "add", "remove": "remove"}[call.path.partition(":")[2]]
        told = call.json
        assert told["encoding"] == "HEX"
        assert told["destinations"] == [
            {
                "operatingAccount": {"accountType": "GOOGLE_ADS", "accountId": "123"},
                "productDestinationId": "456",
            }
        ]
        assert ("consent" in told) == ("termsOfService" in told) == (operation == "add")
        keys = [
            each["userData"]["userIdentifiers"][0]["emailAddress"]
            for each in told["audienceMembers"]
        ]
        bad = [i for i, key in enumerate(keys) if operation == "add" and key in self.unknown]
        if bad:
            violations = [
                {
                    "field": f"audience_members.audience_members[{i}].user_data",
                    "reason": "INVALID_HEX_ENCODING",
                }
                for i in bad
            ]
            details = [
                {
                    "@type": "type.googleapis.com/google.rpc.BadRequest",
                    "fieldViolations": violations,
                }
            ]
            return 400, {"error": {"code": 400, "status": "INVALID_ARGUMENT", "details": details}}
        self._change(operation, keys)
        return 200, {"requestId": "r"}


KINDS: dict[str, type[FakeService]] = {
    "webhook": FakeWebhook,
    "braze": FakeBraze,
    "customer_io": FakeCustomerIo,
    "hubspot_list": FakeHubSpot,
    "meta_audience": FakeMeta,
    "google_customer_match": FakeGoogle,
}
COLUMNS = {"meta_audience": {"email": "EMAIL"}, "google_customer_match": {"email": "email"}}
