"""One pruning state while it lasts, and the verbs by which a method acts on it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from prune.architectures.base import Architecture
from prune.architectures.build import random_model
from prune.architectures.group import FORWARD_FLOPS_PER_MAC, TRAINING_FLOPS_PER_MAC
from prune.base.errors import UserError
from prune.base.registries import CRITERIA
from prune.base.seeding import derive, generator
from prune.config.schema import RunConfig
from prune.data.loading import Loader
from prune.engine import memory, optim
from prune.engine.evaluate import autocast
from prune.engine.record import Record
from prune.engine.teacher import Teacher
from prune.engine.training import Training
from prune.pruning.budget import StateBudget
from prune.pruning.compact import compact, silenced
from prune.pruning.criteria.base import Scoring
from prune.pruning.keepset import KeepSet
from prune.pruning.options import ScoredOptions
from prune.pruning.penalty import UnitPenalty
from prune.pruning.ranking import Scores, check_scores, choose
from prune.pruning.sensitivity import Curve
from prune.pruning.silencing import sensitivities
from prune.pruning.slices import slice_tensors
from prune.rundir.rewind import RewindPoints

log = logging.getLogger(__name__)


class PruningState(Training):
    """State s of a run: prune, train, evaluate.

    Attributes, besides those of `Training`:
        index: s.
        alive: the units that the model has.
        structure: the dense model's groups.
        options: the method's, as they hold in this state.
        budget: what this state may keep.
        marked: the keep set that will remain once the marked units are removed; None when none are marked.
        record: this state's own columns of states.jsonl.
        sensitivity: how the loss grows with what each group loses; None where that was not measured.
        check_stop: raises if the run was asked to stop; what takes long calls it.
        memory: plain values and tensors of the method's own that last as long as the state.
        run_memory: those that last as long as the run.
        seconds: of this state so far: pruning, training and evaluation.
        epochs_since_rewind: epochs since the weights were last rewound, or since the run began.
        training_flops: of the run so far, in closed form, the teacher's forward passes included.
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
        teacher: Teacher | None = None,
        forward: Any = None,
    ):
        super().__init__(
            model,
            config=config,
            architecture=architecture,
            loader=loader,
            device=device,
            index=index,
            epochs=config.epochs_of(index),
            teacher=teacher,
            forward=forward,
        )
        self.alive, self.structure = alive, architecture.structure
        self.options = config.method.in_state(index)
        self.budget, self.rewind_points = budget, rewind_points
        self.marked: KeepSet | None = None
        self.record = Record()
        self.memory: dict[str, Any] = {}
        self.run_memory: dict[str, Any] = {}
        self.seconds = 0.0
        self.epochs_since_rewind = 0
        self.training_flops = 0
        self.sensitivity: dict[str, Curve] | None = None
        self.check_stop: Callable[[], None] = lambda: None
        self._penalty: UnitPenalty | None = None
        self._marked_norm = 0.0

    # ---- the verbs of a method -------------------------------------------------------------------------------------

    def score(self) -> Scores:
        """Score the alive units by `method.criterion`: group → one number a unit, in the order of `alive`.

        With `method.pools=joint` the numbers are densities, comparable between kinds (not so with `method.scope=sensitivity`,
        which compares losses).

        Raises:
            UserError: if the method's configuration has no criterion, or the criterion gives scores that cannot be ranked.
        """
        method = self.options
        if not isinstance(method, ScoredOptions):
            raise UserError(
                f"method.name={method.name} has no key `criterion`: its options must be ScoredOptions to score by one."
            )
        criterion = CRITERIA.load(method.criterion)()
        rate = criterion.densities if method.compares_kinds else criterion.scores
        scores = self.strictly.compute(lambda: rate(self._scoring(method)), undo=self.model.zero_grad)
        check_scores(scores, self.alive, f"method.criterion={method.criterion}")
        return scores

    def choose(self, scores: Scores) -> KeepSet:
        """The units that stay by these scores, within this state's budget, scope, pools, targets and floors.

        Args:
            scores: as `score` gives them, or a method's own: group → one number for each alive unit.

        Raises:
            UserError: for scores of the wrong groups or lengths, or that are not finite.
        """
        method = self.options
        check_scores(scores, self.alive, f"method.name={method.name}")
        if method.scope == "sensitivity" and self.budget.pruned and self.budget.quotas is None:
            self.sensitivity = self._measure_sensitivity(scores)
        return choose(scores, self.alive, self.structure, self.budget, method.pools, self.sensitivity)

    def remove(self, keep: KeepSet) -> None:
        """Make the model compact: only the units of `keep` remain. The optimiser's state, if any, is sliced, not reset."""
        state = None if self.optimizer is None else optim.state_by_name(self.optimizer, self.model)
        compact(self.model, self.architecture, self.alive, keep)
        if state is not None:
            self.optimizer = optim.make_optimizer(self.config.optim, self.model)
            sliced = optim.slice_state(state, self.structure, self.alive, keep)
            optim.load_state_by_name(self.optimizer, self.model, sliced)
        same = keep == self.alive  # then compiled code still fits
        self.alive, self.marked, self._penalty, self._fast_paths = keep, None, None, None
        self._forward = self._forward if same else None

    def rewind(self, to: str | None = None) -> None:
        """Return every tensor of what is left (marked units too) to a rewind point, or give all of it fresh random values.

        Args:
            to: `init`, `epoch:K`, `reinit` or `none`; default: what `method.rewind` names. Points of state 0 other than that
                one must be among the options' `rewind_points`, so that they are kept when the run passes them. `reinit` is no
                point: a dense model is drawn afresh, seeded by run and state, never with pretrained weights, and sliced.
        """
        point = self.options.rewind if to is None else to
        if point == "none":
            return
        dense = KeepSet.dense(self.structure)
        self.model.load_state_dict(slice_tensors(self._weights_at(point), self.structure, dense, self.alive))
        self.epochs_since_rewind = 0

    def _weights_at(self, point: str) -> dict[str, torch.Tensor]:
        """The dense model's tensors at a rewind point, or drawn afresh."""
        if point == "reinit":
            return random_model(self.architecture, derive(self.config.seed, "reinit", self.index)).state_dict()
        if point not in self.config.method.rewind_points:
            known = ", ".join(self.config.method.rewind_points) or "none"
            raise UserError(f"state.rewind(to={point!r}): the options' rewind_points are {known}, and no other point is kept.")
        return self.rewind_points.read(point)

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
        if only is None:
            return self.validate().accuracy
        with silenced(self.model, self.structure, self.alive, only):
            return self.measure("val").accuracy

    # ---- for the loop ----------------------------------------------------------------------------------------------

    def parameters(self) -> int:
        """Parameters of the present model, by closed form."""
        return self.structure.parameters(self.alive.counts())

    def flops_of_step(self) -> int:
        """FLOPs of one training step: of the present model by closed form, and of its teacher's forward pass."""
        taught = 0 if self.teacher is None else FORWARD_FLOPS_PER_MAC * self.teacher.macs
        own = TRAINING_FLOPS_PER_MAC * self.structure.macs(self.alive.counts())
        return (own + taught) * self.loader.batch_size

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
            "record": dict(self.record),
            "sensitivity": self.sensitivity and {name: curve.to_json() for name, curve in self.sensitivity.items()},
            "memory": memory.pack(self.memory, "state.memory"),
            "run_memory": memory.pack(self.run_memory, "state.run_memory"),
            "best": self.best,
            "val_accuracy": self.val_accuracy,
            "val_loss": self.val_loss,
            "seconds": self.seconds,
            "epochs_since_rewind": self.epochs_since_rewind,
            "training_flops": self.training_flops,
        }

    def restore(self, live: dict[str, Any]) -> None:
        """The reverse of `dump`, on a state whose model and units are already those of the checkpoint."""
        self.start()
        assert self.optimizer is not None
        optim.load_state_by_name(self.optimizer, self.model, live["optimizer"])
        self.marked = None if live["marked"] is None else KeepSet.from_lists(live["marked"])
        self._marked_norm, self.record = live["marked_norm"], Record(live["record"])
        curves = live.get("sensitivity")
        self.sensitivity = curves and {name: Curve.from_json(curve) for name, curve in curves.items()}
        self.memory = memory.unpack(live["memory"], self.device)
        self.run_memory = memory.unpack(live["run_memory"], self.device)
        self.val_accuracy, self.val_loss, self.seconds = live["val_accuracy"], live["val_loss"], live["seconds"]
        self.epochs_since_rewind, self.training_flops = live["epochs_since_rewind"], live["training_flops"]
        self.best = live["best"]
        if self.best is not None:
            self.best["tensors"] = {name: tensor.to(self.device) for name, tensor in self.best["tensors"].items()}

    def _measure_sensitivity(self, scores: Scores) -> dict[str, Curve]:
        method = self.options
        assert isinstance(method, ScoredOptions)  # as config.checks has made sure
        log.info("state %d: measuring what each block's units are worth, on %d batches", self.index, method.calibration_batches)
        return sensitivities(self._scoring(method), scores, self.alive, self.budget, self.check_stop)

    def _scoring(self, method: ScoredOptions) -> Scoring:
        def logits(images: torch.Tensor) -> torch.Tensor:
            with autocast(self.device, self.config.optim.precision):
                found: torch.Tensor = self.model(images)
            return found.float()

        return Scoring(
            model=self.model,
            logits=logits,
            structure=self.structure,
            rates=self.budget.rates,
            kinds=method.kinds(self.structure),
            batches=lambda: self.loader.calibration(self.index, method.calibration_batches),
            generator=generator(self.config.seed, "criterion", self.index),
            measure=self.budget.measure,
        )

    def _marking(self) -> UnitPenalty:
        assert self.marked is not None, "no units are marked"
        if self._penalty is None:
            decoupled = self.config.optim.name == "adamw"
            self._penalty = UnitPenalty(self.model, self.structure, self.alive, self.marked, decoupled)
        return self._penalty
