"""One pruning state while it lasts, and the verbs by which a method acts on it."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from prune.architectures.base import Architecture
from prune.architectures.fast.swap import FastPaths
from prune.base.registries import CRITERIA
from prune.base.seeding import generator
from prune.config.schema import RunConfig
from prune.data.loading import Loader
from prune.engine import optim
from prune.engine.evaluate import evaluate
from prune.pruning.budget import StateBudget
from prune.pruning.compact import compact, silenced
from prune.pruning.criteria.base import Scoring
from prune.pruning.keepset import KeepSet
from prune.pruning.penalty import UnitPenalty
from prune.pruning.ranking import rank_joint, rank_separate
from prune.pruning.slices import slice_tensors
from prune.rundir.rewind import RewindPoints

log = logging.getLogger(__name__)


class PruningState:
    """State s of a run: prune, train, evaluate.

    Attributes:
        index: s.
        model: the network, always as large as `alive`; made of the library's own modules.
        alive: its units.
        config, architecture, loader, device: the run's, which do not change.
        budget: what this state may keep.
        epochs: how many it has.
        marked: the keep set that will remain once the marked units are removed; None when none are marked.
        optimizer: None until training starts.
        record: this state's line of states.jsonl, as far as it is known.
        memory: plain values and tensors of the method's own that must survive a restart.
        val_accuracy: of the present model, when last evaluated (percent).
        best: epoch, accuracy and tensors of the best model so far; None before the first.
    """

    def __init__(
        self,
        index: int,
        model: nn.Module,
        alive: KeepSet,
        *,
        config: RunConfig,
        architecture: Architecture,
        budget: StateBudget,
        loader: Loader,
        rewind_points: RewindPoints,
        device: torch.device,
    ):
        self.index, self.model, self.alive = index, model, alive
        self.config, self.architecture, self.structure = config, architecture, architecture.structure
        self.budget, self.loader, self.rewind_points, self.device = budget, loader, rewind_points, device
        self.epochs = config.schedule.epochs_of(index)
        self.marked: KeepSet | None = None
        self.optimizer: torch.optim.Optimizer | None = None
        self.record: dict[str, Any] = {}
        self.memory: dict[str, Any] = {}
        self.best: dict[str, Any] | None = None
        self.val_accuracy: float | None = None
        self.seconds = 0.0
        self.lr = 0.0
        self._penalty: UnitPenalty | None = None
        self._marked_norm = 0.0
        self._forward: Any = None
        self._fast_paths: FastPaths | None = None

    # ---- the verbs of a method -------------------------------------------------------------------------------------

    def rank(self) -> KeepSet:
        """Score the alive units by `method.criterion` and choose, within this state's budget, which stay."""
        method, structure = self.config.method, self.structure
        scoring = Scoring(
            model=self.model,
            structure=structure,
            rates={kind: budget.rate for kind, budget in self.budget.kinds.items()},
            kinds=method.kinds(structure),
            batches=lambda: self.loader.calibration(self.index, method.calibration_batches),
            generator=generator(self.config.seed, "criterion", self.index),
        )
        criterion = CRITERIA.load(method.criterion)()
        if method.pools == "joint":
            return rank_joint(criterion.densities(scoring), self.alive, structure, self.budget)
        return rank_separate(criterion.scores(scoring), self.alive, structure, self.budget, method.scope)

    def remove(self, keep: KeepSet) -> None:
        """Make the model compact: only the units of `keep` remain. The optimiser's state, if any, is sliced, not reset."""
        state = None if self.optimizer is None else optim.state_by_name(self.optimizer, self.model)
        compact(self.model, self.architecture, self.alive, keep)
        if state is not None:
            self.optimizer = optim.make_optimizer(self.config.optim, self.model)
            sliced = optim.slice_state(state, self.structure, self.alive, keep)
            optim.load_state_by_name(self.optimizer, self.model, sliced)
        self.alive, self.marked, self._penalty, self._forward, self._fast_paths = keep, None, None, None, None

    def rewind(self) -> None:
        """Return every tensor of what is left (marked units too) to the rewind point that `method.rewind` names."""
        point = self.config.method.rewind_point
        if point is None:
            return
        dense = KeepSet.dense(self.structure)
        tensors = slice_tensors(self.rewind_points.read(point), self.structure, dense, self.alive)
        self.model.load_state_dict(tensors)

    def mark(self, keep: KeepSet) -> None:
        """Mark all alive units that are not in `keep`, for `penalise`."""
        self.marked = keep
        self._marked_norm = self._marking().norm()

    def penalise(self, strength: float) -> None:
        """Add this step's L2 penalty λ = `strength` on the marked units (see `UnitPenalty`)."""
        self._marking().apply(strength, self.lr)

    def marked_norm_ratio(self) -> float | None:
        """Norm of the marked units now / when they were marked; None if no unit is marked."""
        return self._marking().norm() / self._marked_norm if self._marked_norm else None

    def evaluate(self, only: KeepSet | None = None) -> float:
        """Validation accuracy in percent, of the model or of what it would be with only the units of `only`."""
        if only is not None:
            with silenced(self.model, self.structure, self.alive, only):
                return self.measure("val")[1]
        self.val_accuracy = self.measure("val")[1]
        return self.val_accuracy

    # ---- for the loop ----------------------------------------------------------------------------------------------

    @property
    def forward(self) -> Any:
        """The model as it is called: compiled, once per set of sizes, if `hardware.compile` says so."""
        if self._forward is None:
            if self.config.hardware.compile:
                torch._dynamo.reset()
                self._forward = torch.compile(self.model, dynamic=False)
            else:
                self._forward = self.model
        return self._forward

    @property
    def fast_paths(self) -> FastPaths:
        """What trains faster on this device; nothing where the compiler plans the model's kernels and memory itself."""
        if self._fast_paths is None:
            compiled = self.config.hardware.compile
            self._fast_paths = FastPaths([] if compiled else self.architecture.fast_paths(self.model, self.device.type))
        return self._fast_paths

    def measure(self, split: str, before_batch: Callable[[], None] | None = None) -> tuple[float, float]:
        """Loss and accuracy (percent) on a split. `before_batch` may raise, to leave in between."""
        batches = self.loader.evaluation(split, self.config.hardware.eval_batch_size)
        return evaluate(self.forward, self.model, batches, self.config.optim.precision, before_batch)

    def start_training(self) -> None:
        """A fresh optimiser, unless one was restored."""
        if self.optimizer is None:
            self.optimizer = optim.make_optimizer(self.config.optim, self.model)

    def tensors(self) -> dict[str, Tensor]:
        """The model's tensors by name: the live ones, not copies."""
        return {name: tensor.detach() for name, tensor in self.model.state_dict().items()}

    def keep_if_best(self, epoch: int | None) -> None:
        """Remember the present model if its validation accuracy is the first to be so high."""
        assert self.val_accuracy is not None
        if self.best is None or self.val_accuracy > self.best["val_accuracy"]:
            room = {} if self.best is None else self.best["tensors"]  # the copies before are overwritten: one set is held
            copies = {name: _copy(tensor, room.get(name)) for name, tensor in self.tensors().items()}
            self.best = {"epoch": epoch, "val_accuracy": self.val_accuracy, "tensors": copies}

    def parameters(self) -> int:
        """Parameters of the present model, by closed form."""
        return self.structure.parameters(self.alive.counts())

    def sizes(self) -> dict[str, Any]:
        """What states.jsonl says of the present model: units kept by kind and by group, parameters, MACs of one image."""
        counts = self.alive.counts()
        return {
            "kept": self.structure.by_kind(counts),
            "groups": counts,
            "parameters": self.structure.parameters(counts),
            "macs": self.structure.macs(counts),
        }

    def dump(self) -> dict[str, Any]:
        """All that last.pt must hold of a state in progress, besides the model's tensors and units."""
        assert self.optimizer is not None
        return {
            "optimizer": optim.state_by_name(self.optimizer, self.model),
            "marked": None if self.marked is None else self.marked.to_lists(),
            "marked_norm": self._marked_norm,
            "record": copy.deepcopy(self.record),
            "memory": copy.deepcopy(self.memory),
            "best": self.best,
            "val_accuracy": self.val_accuracy,
            "seconds": self.seconds,
        }

    def restore(self, live: dict[str, Any]) -> None:
        """The reverse of `dump`, on a state whose model and units are already those of the checkpoint."""
        self.start_training()
        assert self.optimizer is not None
        optim.load_state_by_name(self.optimizer, self.model, live["optimizer"])
        self.marked = None if live["marked"] is None else KeepSet.from_lists(live["marked"])
        self._marked_norm, self.record, self.memory = live["marked_norm"], live["record"], live["memory"]
        self.val_accuracy, self.seconds = live["val_accuracy"], live["seconds"]
        self.best = live["best"]
        if self.best is not None:
            self.best["tensors"] = {name: tensor.to(self.device) for name, tensor in self.best["tensors"].items()}

    def _marking(self) -> UnitPenalty:
        assert self.marked is not None, "no units are marked"
        if self._penalty is None:
            decoupled = self.config.optim.name == "adamw"
            self._penalty = UnitPenalty(self.model, self.structure, self.alive, self.marked, decoupled)
        return self._penalty


def _copy(tensor: Tensor, room: Tensor | None) -> Tensor:
    return tensor.clone() if room is None or room.shape != tensor.shape else room.copy_(tensor)
