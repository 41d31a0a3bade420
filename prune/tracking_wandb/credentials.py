"""Where W&B's key comes from (the environment only), which mode follows, and how the key stays out of every text."""

from __future__ import annotations

import netrc
import os
import socket
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

DEFAULT_SERVER = "https://api.wandb.ai"


def server() -> str:
    """The W&B server's address: WANDB_BASE_URL, or the public one."""
    return os.environ.get("WANDB_BASE_URL") or DEFAULT_SERVER


def check_server(seconds: float) -> None:
    """Notice a server that cannot be connected to in a moment, rather than after all of wandb's own attempts.

    Raises:
        OSError: if it cannot. Behind a proxy nothing is known beforehand, so nothing is checked.
    """
    address = urlsplit(server())
    if address.hostname is None or urllib.request.getproxies().get(address.scheme):
        return
    port = address.port or (80 if address.scheme == "http" else 443)
    socket.create_connection((address.hostname, port), timeout=seconds).close()


def has_key() -> bool:
    """Whether this process could log in: WANDB_API_KEY, WANDB_IDENTITY_TOKEN_FILE or a netrc entry for the server."""
    return bool(os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE") or _netrc_key())


def resolve_mode(mode: str) -> str:
    """`logger.mode` → online | offline | disabled; auto is WANDB_MODE if one of these, else online when a key is set."""
    if mode != "auto":
        return mode
    from_environment = os.environ.get("WANDB_MODE")
    if from_environment in ("online", "offline", "disabled"):
        return from_environment
    return "online" if has_key() else "offline"


def without_key(text: object) -> str:
    """`text` in one line, with the key, should a library have put it there, blotted out."""
    line = " ".join(str(text).split())
    for key in (os.environ.get("WANDB_API_KEY"), _netrc_key()):
        if key:
            line = line.replace(key, "***")
    return line


def _netrc_key() -> str | None:
    given = os.environ.get("NETRC")
    path = Path(given or "~/.netrc").expanduser()
    try:
        entry = netrc.netrc(path).authenticators(urlsplit(server()).netloc)
    except (OSError, netrc.NetrcParseError):
        # No such file, or one that wandb could not read either: there is no key in it for us.
        return None
    return entry[2] if entry else None
