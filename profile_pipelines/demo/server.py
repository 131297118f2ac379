"""The server process of the three HTTP systems: `python -m profile_pipelines.demo.server`.

It takes the listening socket from its parent, answers from the demo's store, and ends when
its standard input closes, which happens when the parent ends in whatever way.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route

from profile_pipelines.demo.billing import BillingApi
from profile_pipelines.demo.gate import Gate
from profile_pipelines.demo.shop import ShopApi
from profile_pipelines.demo.store import CREDENTIALS, connect, setting
from profile_pipelines.demo.support import SupportApi

BILLING_PER_SECOND = 40
SHOP_PER_SECOND = 200
SUPPORT_PER_SECOND = 20


def application(folder: Path) -> Starlette:
    """The three APIs under `/billing`, `/shop` and `/support`, and `/health` with the folder's
    own mark."""
    store = connect(folder)
    known = {name: setting(store, name) for name in CREDENTIALS}
    mark = setting(store, "mark")
    store.close()
    user, password = known["ECOMMERCE_KEY"], known["ECOMMERCE_SECRET"]
    token = known["SUPPORT_TOKEN"]
    billing = Gate([f"Bearer {known['BILLING_API_KEY']}"], BILLING_PER_SECOND)
    shop = Gate([f"{user}:{password}"], SHOP_PER_SECOND)
    support = Gate([f"Bearer {token}", f"agent@example.com/token:{token}"], SUPPORT_PER_SECOND)

    async def health(request: Request) -> Response:
        return PlainTextResponse(mark)

    return Starlette(
        routes=[
            Route("/health", health),
            Mount("/billing", routes=BillingApi(folder, billing).routes),
            Mount("/shop", routes=ShopApi(folder, shop).routes),
            Mount("/support", routes=SupportApi(folder, support).routes),
        ],
        exception_handlers={HTTPException: _error},  # pyright: ignore[reportArgumentType]
    )


async def _error(request: Request, error: HTTPException) -> Response:
    """The fault in the shape of the system that was asked."""
    system = request.url.path.split("/")[1]
    status, text = error.status_code, error.detail
    content: dict[str, object] = {"error": {"type": "invalid_request_error", "message": text}}
    if system == "shop":
        content = {"code": "woocommerce_rest_error", "message": text, "data": {"status": status}}
    elif system == "support":
        content = {"error": text}
    return JSONResponse(content, status, dict(error.headers or {}))


def main() -> None:
    """Serve the folder given first on the socket whose descriptor is given second."""
    folder, descriptor = Path(sys.argv[1]), int(sys.argv[2])
    listener = socket.socket(fileno=descriptor)
    config = uvicorn.Config(application(folder), log_level="warning", timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    threading.Thread(target=_end_with_parent, args=(server,), daemon=True).start()
    server.run(sockets=[listener])


def _end_with_parent(server: uvicorn.Server) -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    server.should_exit = True


if __name__ == "__main__":
    main()
