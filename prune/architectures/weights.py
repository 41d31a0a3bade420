"""Pretrained weights: from timm, or from a local file, loaded whole or not at all."""

from __future__ import annotations

import logging
import pickle
import socket
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from prune.architectures.base import Architecture
from prune.architectures.naming import named
from prune.base.errors import UserError

log = logging.getLogger(__name__)


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors or torch checkpoint (plain, or under `model` or `state_dict`). No code is executed."""
    if not path.is_file():
        raise UserError(f"model.pretrained={path} does not exist.")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a broken file makes the reader raise
        if isinstance(error, pickle.UnpicklingError):  # torch's own text advises to run what is in the file
            raise UserError(f"model.pretrained={path} cannot be read: it holds no tensors, or more than tensors.") from None
        raise UserError(
            f"model.pretrained={path} cannot be read ({type(error).__name__}: {str(error).splitlines()[0]})."
        ) from None
    for key in ("model", "state_dict"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise UserError(f"model.pretrained={path} holds no dictionary of tensors.")
    return content


def load_weights(architecture: Architecture, model: nn.Module, weights: dict[str, Tensor], source: str) -> None:
    """Load every backbone tensor, adapted to the model's sizes by its family; the classifier only if it fits.

    Raises:
        UserError: naming tensors for which the model has no place, and listing those of the backbone that are missing or do
            not fit.
    """
    wanted = model.state_dict()
    weights = architecture.adapt_weights(weights, model)
    unknown = [name for name in weights if name not in wanted and not name.startswith(architecture.classifier)]
    backbone = [name for name in wanted if not name.startswith(architecture.classifier)]
    missing = [name for name in backbone if name not in weights]
    unfit = [
        f"{name} {tuple(weights[name].shape)} instead of {tuple(wanted[name].shape)}"
        for name in backbone
        if name in weights and weights[name].shape != wanted[name].shape
    ]
    if unknown or missing or unfit:
        problems = [f"it has {named(weights, unknown)}, which the model has not"] * bool(unknown)
        problems += [f"it lacks {', '.join(missing)}"] * bool(missing) + [f"it has {', '.join(unfit)}"] * bool(unfit)
        raise UserError(f"model.pretrained: {source} does not fit the model: {'; '.join(problems)}.")
    fitting = {name: weights[name] for name in wanted if name in weights and weights[name].shape == wanted[name].shape}
    model.load_state_dict(fitting, strict=False)
    classifier = [name for name in wanted if name.startswith(architecture.classifier)]
    head = "too" if all(name in fitting for name in classifier) else "not (another number of classes)"
    log.info(
        "pretrained: %d of %d backbone tensors loaded from %s; classifier %s",
        len(backbone),
        len(backbone),
        source,
        head,
    )


def timm_weights(name: str) -> dict[str, Tensor]:
    """timm's ImageNet weights, downloaded on first use."""
    if not timm.is_model(name):
        raise UserError(f"model.name={name!r} is not a timm model; `timm.list_models('vit*')` lists them.")
    weights: dict[str, Tensor] = timm_model(name, "model.pretrained=true").state_dict()
    return weights


def timm_model(name: str, key: str) -> Any:
    """A model of timm's with its ImageNet weights, downloaded on first use.

    Args:
        key: what asked for it, as the user wrote it.

    Raises:
        UserError: for a name that timm does not know, or weights that cannot be had.
    """
    if not timm.is_model(name):
        raise UserError(f"{key}: timm knows no model of that name; `timm.list_models(pretrained=True)` lists them.")
    try:
        with _hub_quiet_and_quick():
            return timm.create_model(name, pretrained=True)
    except Exception as error:  # whatever the hub's client raises without network or without such weights
        raise UserError(
            f"{key}: the weights of {name} could not be fetched ({type(error).__name__}); fetch them on a machine with "
            f"network (python -m prune data fetch --weights {name}), or give a local file."
        ) from None


@contextmanager
def _hub_quiet_and_quick() -> Iterator[None]:
    """Without a network, use what is cached or fail at once: the hub's client would retry, aloud, for most of a minute."""
    from huggingface_hub import constants

    chatter = logging.getLogger("huggingface_hub")
    level, offline = chatter.level, constants.HF_HUB_OFFLINE
    chatter.setLevel(logging.ERROR)
    constants.HF_HUB_OFFLINE = offline or not _reachable(constants.ENDPOINT)
    try:
        yield
    finally:
        chatter.setLevel(level)
        constants.HF_HUB_OFFLINE = offline


def _reachable(address: str) -> bool:
    """Whether the host answers at all. Behind a proxy that cannot be told, so the client may try."""
    if urllib.request.getproxies():
        return True
    parts = urllib.parse.urlsplit(address)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 443), timeout=5).close()
    except OSError:
        return False
    return True
