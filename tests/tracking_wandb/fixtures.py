"""The environment of the W&B tests: a fake key, a stand-in server, nothing of the user's own, nothing outside 127.0.0.1.

A plugin: a test module names it in `pytest_plugins`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from prune.tracking_wandb import tracker
from tests.tracking_wandb.runs import KEY
from tests.tracking_wandb.server import WandbServer


@pytest.fixture
def wandb_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """wandb's settings are one per process and read once, so every test begins and ends without them."""
    import wandb

    for name in [name for name in os.environ if name.startswith("WANDB_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    for name in ("CONFIG", "CACHE", "DATA"):
        monkeypatch.setenv(f"WANDB_{name}_DIR", str(tmp_path / "home" / name.lower()))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(tracker, "_failed_at", None)
    wandb.teardown()
    yield
    wandb.teardown()


@pytest.fixture
def server(wandb_environment: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    """A stand-in for W&B, and a key for it."""
    server = WandbServer()
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    yield server
    server.close()
