"""What vendors do differently, where a user has to say something."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from profile_pipelines.workspace import Workspace
from profile_pipelines_tests.presets.billing_servers import CASES
from profile_pipelines_tests.presets.preset_case import Shop
from profile_pipelines_tests.sources.api_server import serving


def test_stripes_period_in_its_older_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an API version before 2025-03-31 the suggestion is taken from the subscription itself.

    https://docs.stripe.com/changelog/basil/2025-03-31/deprecate-subscription-current-period-start-and-end
    """
    case = CASES[0]
    monkeypatch.setenv("STRIPE_API_KEY", "rk_test")
    with serving() as api:
        vendor = case.vendor(api)
        shop = Shop(case, tmp_path, api.url, api_version="2024-06-20")
        source = tmp_path / "catalog" / "sources" / "vendor.yaml"
        declared = yaml.safe_load(source.read_text())
        taken = declared["syncs"]["subscriptions"]["attributes"]
        declared["syncs"]["subscriptions"]["attributes"] = {
            name: {"suggested": name} for name in taken
        }
        older = {"suggested": "subscription_period_end", "field": "current_period_end"}
        declared["syncs"]["subscriptions"]["attributes"]["subscription_period_end"] = older
        source.write_text(yaml.safe_dump(declared))
        shop.workspace = Workspace(shop.workspace.places)
        shop.sync("subscriptions")
        assert shop.rows("subscriptions") == vendor.expected("subscriptions")
