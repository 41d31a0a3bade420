"""One pruning state while it lasts, and the verbs by which a method acts on it."""

from __future__ import annotations

import copy
import logging
from typing import TYPE_CHECKING, Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from prune import optim
from prune.attention import use_packed_attention
from prune.checkpoint import read_tensors
from prune.compact import compact, silenced, slice_tensors
from prune.criteria import CRITERIA
from prune.mlp import use_cpu_mlp
from prune.penalise import UnitPenalty
from prune.ranking import rank_joint, rank_separate
from prune.residual import add_in_place
from prune.scores import Scoring
from prune.seeding import generator
from prune.train import evaluate
from prune.units import KeepSet, Kind

if TYPE_CHECKING:
    from prune.job import Job

log = logging.getLogger(__name__)


class PruningState:
    """State s of a run: prune, train, evaluate.

    Attributes:
        job: what does not change during the run (configuration, data, device, method).
        index: s.
        model: the network, always as large as `alive`.
        alive: its units.
        marked: the keep set that will remain once the marked units are removed; None when none are marked.
        optimizer: None until training starts.
        record: this state's line of states.jsonl, as far as it is known.
        memory: plain values and tensors of the method's own that must survive a restart.
        val_accuracy: of the present model, when last evaluated (percent).
        best: epoch, accuracy and tensors of the best model so far; None before the first.
    """

    def __init__(self, job: Job, index: int, model: VisionTransformer, alive: KeepSet):
        self.job, self.index, self.model, self.alive = job, index, model, alive
        add_in_place(model)
        use_packed_attention(model)
        if job.device.type == "cpu":
            use_cpu_mlp(model)
        self.budget = job.budgets[index]
        self.epochs = job.config.epochs(index)
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

    # ---- the verbs of a method -------------------------------------------------------------------------------------

    def rank(self) -> KeepSet:
        """Score the alive units by `method.criterion` and choose, within this state's budget, which stay."""
        method, shape = self.job.config.method, self.job.shape
        kinds: dict[str, tuple[Kind, ...]] = {"both": ("heads", "neurons"), "head": ("heads",), "mlp": ("neurons",)}
        scoring = Scoring(
            model=self.model,
            shape=shape,
            rate_heads=self.budget.heads.rate,
            rate_neurons=self.budget.neurons.rate,
            kinds=kinds[method.targets],
            batches=lambda: self.job.loader.calibration(self.index, method.calibration_batches),
            generator=generator(self.job.config.seed, "criterion", self.index),
        )
        criterion = CRITERIA.load(method.criterion)()
        if method.pools == "joint":
            return rank_joint(criterion.densities(scoring), self.alive, self.budget, shape)
        return rank_separate(criterion.scores(scoring), self.alive, self.budget, method.scope)

    def remove(self, keep: KeepSet) -> None:
        """Make the model compact: only the units of `keep` remain. The optimiser's state, if any, is sliced, not reset."""
        state = None if self.optimizer is None else optim.state_by_name(self.optimizer, self.model)
        compact(self.model, self.alive, keep)
        if state is not None:
            self.optimizer = optim.make_optimizer(self.job.config.optim, self.model)
            sliced = optim.slice_state(state, self.alive, keep, self.job.shape.head_dim)
            optim.load_state_by_name(self.optimizer, self.model, sliced)
        self.alive, self.marked, self._penalty, self._forward = keep, None, None, None

    def rewind(self) -> None:
        """Return every tensor of what is left (marked units too) to the rewind point that `method.rewind` names."""
        if self.job.config.method.rewind == "none":
            return
        point = read_tensors(self.job.directory.rewind)
        dense = KeepSet.dense(self.job.shape)
        self.model.load_state_dict(slice_tensors(point, dense, self.alive, self.job.shape.head_dim))

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
            with silenced(self.model, self.alive, only):
                return self.measure("val")[1]
        self.val_accuracy = self.measure("val")[1]
        return self.val_accuracy

    # ---- for the loop ----------------------------------------------------------------------------------------------

    @property
    def forward(self) -> Any:
        """The model as it is called: compiled, once per set of sizes, if `hardware.compile` says so."""
        if self._forward is None:
            if self.job.config.hardware.compile:
                torch._dynamo.reset()
                self._forward = torch.compile(self.model, dynamic=False)
            else:
                self._forward = self.model
        return self._forward

    def measure(self, split: str, interruptible: bool = False) -> tuple[float, float]:
        """Loss and accuracy (percent) on a split."""
        job = self.job
        batches = job.loader.evaluation(split, job.config.hardware.eval_batch_size)
        check = job.stop.check if interruptible else _nothing
        return evaluate(self.forward, self.model, batches, job.config.optim.precision, check)

    def start_training(self) -> None:
        """A fresh optimiser, unless one was restored."""
        if self.optimizer is None:
            self.optimizer = optim.make_optimizer(self.job.config.optim, self.model)

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

    def counts(self) -> dict[str, int]:
        """Heads, neurons, parameters and MACs of the present model, by closed form."""
        heads, neurons = self.alive.counts("heads"), self.alive.counts("neurons")
        shape = self.job.shape
        return {
            "heads_kept": sum(heads),
            "neurons_kept": sum(neurons),
            "parameters": shape.parameters(heads, neurons).total,
            "macs": shape.macs(heads, neurons).total,
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
        self.marked = None if live["marked"] is None else KeepSet.from_lists(**live["marked"])
        self._marked_norm, self.record, self.memory = live["marked_norm"], live["record"], live["memory"]
        self.val_accuracy, self.seconds = live["val_accuracy"], live["seconds"]
        self.best = live["best"]
        if self.best is not None:
            device = self.job.device
            self.best["tensors"] = {name: tensor.to(device) for name, tensor in self.best["tensors"].items()}

    def _marking(self) -> UnitPenalty:
        assert self.marked is not None, "no units are marked"
        if self._penalty is None:
            decoupled = self.job.config.optim.name == "adamw"
            self._penalty = UnitPenalty(self.model, self.alive, self.marked, decoupled)
        return self._penalty


def _copy(tensor: Tensor, room: Tensor | None) -> Tensor:
    return tensor.clone() if room is None or room.shape != tensor.shape else room.copy_(tensor)


def _nothing() -> None:
    return None
