"""Bad input: exit code 1 and one sentence on stderr that names the key, before any training."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from PIL import Image
from safetensors.torch import save_file

from prune.architectures.build import build_model
from prune.sweep.entry import run_single
from prune.sweep.hydra_errors import in_one_sentence
from tests.conftest import CONF, TINY_RUN, compose_config
from tests.report.sweep import configuration, state_line, write_run

ROOT = CONF.parent
PHASES = "method=phases method.phases="
FOLDER = "dataset=image_folder dataset.image_size=8 optim.batch_size=4"

# (what is typed after a run that is fine, what the sentence must contain). {…} are the fixture `places` below.
TABLE = [
    # rates and states
    ("schedule.target=0", "schedule.target=0 must be a number above 0 and below 1"),
    ("schedule.target=1", "schedule.target=1 must be a number above 0 and below 1"),
    ("schedule.target=-0.2", "schedule.target=-0.2 must be a number above 0"),
    ("schedule.target=most", "schedule.target=most must be a number above 0"),
    ("schedule.targets={{heads:1.5}}", "schedule.targets={heads: 1.5} must be a map in braces, each value a number above 0"),
    ("schedule.targets=0.5", "schedule.targets=0.5 must be a map in braces, each value a number above 0 and below 1 or null"),
    ("schedule.targets={{head:0.5}}", "schedule.targets names head, which this model does not have; it has heads, neurons"),
    ("schedule.states=1", "schedule.states=1 must be a whole number from 2 to 10000"),
    ("schedule.states=2.5", "schedule.states=2.5 must be a whole number"),
    ("schedule.epochs=0", "schedule.epochs=0 must be a whole number of at least 1"),
    ("schedule.rates=[0,0.6,0.5]", "schedule.rates=[0, 0.6, 0.5] falls"),
    ("schedule.rates=[0,0.5]", "schedule.rates has 2 entries but schedule.states=3"),
    ("schedule.rates=[0.1,0.5,0.7]", "schedule.rates must start at 0 (state 0 is dense), not at 0.1"),
    ("schedule.rates=[0,0.5,1]", "schedule.rates must end above 0 and below 1, not at 1"),
    ("schedule.rates=0.5", "schedule.rates=0.5 must be a list in brackets"),
    # names
    ("schedule.shape=quadratic", "schedule.shape=quadratic must be one of geometric, linear, cubic, constant"),
    ("method.criterion=magnitud", "one of activation, group_magnitude, magnitude, random, remaining, remaining_count, taylor"),
    ("method.scope=local", "method.scope=local must be one of global, layer"),
    ("method.pools=both", "method.pools=both must be one of separate, joint"),
    ("method.targets=heads", "method.targets=heads must be all or a list in brackets, each text"),
    ("method.targets=[head,mlp]", "method.targets names head, mlp, which this model does not have; it has heads, neurons"),
    ("method=rsst method.penalty.schedule=e", "must be one of exp_custom_exponents, exp_custom, x, x^2, x^3, exp"),
    ("method=reffil", "method=reffil must be one of dense, phases, refill, rsst, scratch"),
    ("schedule=quadratic", "schedule=quadratic must be one of constant, cubic, geometric, linear"),
    ("method.name=reffil", "method.name='reffil' is not known; choose one of dense, phases, refill, rsst, scratch"),
    ("dataset.name=mnist", "choose one of cifar10, cifar100, digit_pairs, digits, image_folder"),
    ("checkpoint.keep=some", "checkpoint.keep=some must be one of all, last, best"),
    ("name=a/b", "name=a/b must be letters, digits and"),
    # methods
    ("method=rsst method.ramp=0", "method.ramp=0 must be a number above 0 and at most 1"),
    ("method=rsst method.ramp=1.5", "method.ramp=1.5 must be a number above 0 and at most 1"),
    ("method=rsst schedule.epochs=1", "set method.ramp=1 or schedule.epochs to at least 2"),
    ("method=rsst method.penalty.ceiling=-1", "method.penalty.ceiling=-1 must be a number of at least 0 or auto"),
    ("method=rsst method.penalty.ceiling=1e6", "method.penalty.ceiling=1e+06 is unstable at optim.lr=0.003"),
    ("method=rsst optim=sgd optim.lr=1 method.penalty.ceiling=100", "method.penalty.ceiling=100 is unstable at optim.lr=1"),
    ("method=rsst method.penalty.ceiling=auto optim.lr=1e-30", "method.penalty.ceiling=auto: no ceiling brings a weight"),
    ("method.rewind=epoch:2", "method.rewind=epoch:2 lies beyond state 0: with schedule.epochs_first=2 K must be less than 2"),
    ("method.rewind=epoch:0 schedule.epochs_first=0", "method.rewind=epoch:0 needs epochs in state 0"),
    ("method.rewind=first", "method.rewind=first must be init, reinit, none or epoch:K"),
    ("method.fillback_rate=1", "method.fillback_rate=1 must be a number of at least 0 and below 1"),
    ("method.min_per_block=-1", "method.min_per_block=-1 must be a whole number of at least 0 or auto"),
    ("method.min_per_block=3", "method.min_per_block=3 does not fit: state 1 keeps 4 heads in 2 blocks of 4"),
    ("method.pools=joint method.criterion=activation", "method.criterion=activation cannot be compared"),
    ("method.pools=joint method.targets=[neurons]", "so it needs method.targets=all, not [neurons]"),
    ("method.pools=joint method.scope=layer", "it needs method.scope=global"),
    ("method.scope=sensitivity method.block_rates=[1,2]", "so method.block_rates must be null"),
    ("method.block_rates=[1,2,3]", "method.block_rates has 3 rates and the model has 2 blocks"),
    ("method.block_rates=[1]", "method.block_rates has 1 rates and the model has 2 blocks; give one for each"),
    ("method.block_rates={{heads:[1,1]}}", "method.block_rates has no rates for neurons; give a list for each kind"),
    ("method.block_rates={{heads:[1],neurons:[1,1]}}", "method.block_rates has 1 rates for heads, which 2 blocks have"),
    ("method.block_rates=[0,1] schedule.target=0.9", "method.block_rates lets at most 3 of 8 heads go (a block of rate 0"),
    ("schedule.measure=macs schedule.target=0.99", "but the most that can go with method.targets=all is"),
    ("schedule.measure=parameters schedule.target=0.99", "lower schedule.target to 0."),
    ("schedule.measure=macs schedule.rates=[0,0.5,0.99]", "lower schedule.rates to 0."),
    ("schedule.measure=macs schedule.targets={{heads:0.5}}", "so schedule.targets must be null"),
    ("schedule.epochs_last=0", "schedule.epochs_last=0 must be a whole number of at least 1 or null"),
    # recipes
    ("recipe.mix.mixup=-0.1", "recipe.mix.mixup=-0.1 must be a number from 0 to 100"),
    ("recipe.mix.prob=2", "recipe.mix.prob=2 must be a number from 0 to 1"),
    ("recipe.mix.mixup=0.2 optim.batch_size=1", "so optim.batch_size must be at least 2"),
    ("recipe.randaugment.magnitude=31", "recipe.randaugment.magnitude=31 must be a whole number from 0 to 30"),
    ("recipe.erasing.prob=1.1", "recipe.erasing.prob=1.1 must be a number from 0 to 1"),
    ("recipe.distillation.kind=firm", "recipe.distillation.kind=firm must be one of soft, hard"),
    ("recipe.distillation.temperature=0", "recipe.distillation.temperature=0 must be a number above 0"),
    ("recipe.distillation.teacher=./nowhere", "recipe.distillation.teacher: "),
    ("recipe.distillation.teacher=resnet5", "recipe.distillation.teacher=resnet5: timm knows no model of that name"),
    ("recipe.distillation.teacher=state0 schedule.epochs_first=0", "teacher=state0 would be an untrained model"),
    ("recipe=heavy", "recipe=heavy must be one of deit, light, none"),
    (PHASES + "[{{from_state:3,method:{{name:rsst}}}}]", "leaves state 1–2 without a method"),
    (PHASES + "[{{from_state:1,method:{{name:rsst}}}},{{from_state:1,method:{{name:refill}}}}]", "phases overlap"),
    ("method=phases schedule.states=4", "method.phases: refill takes over at state 4, which never comes; schedule.states=4"),
    (PHASES + "[{{from_state:1,method:{{name:refil}}}}]", "method.phases: method.name='refil' is not known"),
    (PHASES + "[{{from_state:1,method:{{ramp:1}}}}]", "method.phases: a method has no name; choose one of"),
    (PHASES + "[{{from_state:1,method:{{name:phases}}}}]", "method.phases: phases takes turns itself"),
    (PHASES + "[{{from_state:1,method:{{name:rsst,ramp:2}}}}]", "method.phases, rsst: method.ramp=2 must be a"),
    (PHASES + "[{{from_state:1,method:{{name:rsst,rampp:1}}}}]", "(did you mean method.ramp?)"),
    (PHASES + "[{{from_state:1}}]", "must be a list of phases, each {from_state: S, method: {name: …"),
    ("method=phases method.rewind=init", "method.rewind is not a key of this configuration (it is one of method=dense"),
    ("method.counts={file}", "file is no folder; give a finished run's directory, or a sweep's folder"),
    ("method.counts={missing}", "missing is not there; give a finished run's directory, or a sweep's folder"),
    ("method.counts={empty}", "empty holds no runs"),
    ("method.counts={unfinished}", "is not finished (2 of 3 states); finish it first"),
    ("method.counts={wide}", "is of another architecture; it has 3 units in blocks.0.attn, 192 units"),
    ("method.counts={several}", "several holds 2 runs with this dataset, model, seed and schedule; give one of them: digits-"),
    ("method.counts={several} seed=1", "several holds no run with this dataset, model, seed and schedule that prunes"),
    ("method=dense +method.counts={missing}", "method.counts says how many units each group keeps, and dense keeps all"),
    ("method.counts=", "method.counts='' must be text or null"),
    ("method=scratch method.rewind=init", "method.rewind=init must be reinit"),
    ("method=scratch +method.criterion=taylor", "method.criterion is not a key of this configuration (it is one of method="),
    ("method=scratch method.budget=epochs", "method.budget=epochs must be one of state, run"),
    ("controls=[random]", "controls are started by experiment=controls, with name=… and outputs=… of the sweep"),
    # keys that are not there: with + our schema says so, without it Hydra would
    ("+schedule.targt=0.5", "schedule.targt is not a key of this configuration (did you mean schedule.target?)"),
    ("schedule.targt=0.5", "schedule.targt is not a key of this configuration (did you mean schedule.target?)"),
    ("+schedul.target=0.5", "schedul is not a key of this configuration (did you mean schedule?)"),
    ("schedul.target=0.5", "schedul.target is not a key of this configuration (did you mean schedule.target?)"),
    ("+sede=1", "sede is not a key of this configuration (did you mean seed?)"),
    ("+dataset.augment.flipp=true", "dataset.augment.flipp is not a key of this configuration (did you mean"),
    ("+hardware.thread=1", "hardware.thread is not a key of this configuration (did you mean hardware.threads?)"),
    ("method=rsst +method.penalty.ceilling=1", "(did you mean method.penalty.ceiling?)"),
    ("+optim.target=0.5", "optim.target is not a key of this configuration (did you mean schedule.target?)"),
    ("target=0.5", "target is not a key of this configuration (did you mean schedule.target?)"),
    ("method.ramp=0.5", "method.ramp is not a key of this configuration (it is one of method=rsst)"),
    ("+method.ramp=0.5", "method.ramp is not a key of this configuration (it is one of method=rsst)"),
    ("+optim.nonsense=1", "optim.nonsense is not a key of this configuration (optim has name, lr, "),
    ("~model.depth", "model.depth is missing"),
    ("~method.name", "method.name is missing; choose one of dense, phases, refill, rsst, scratch"),
    ("~model.family", "model.family is missing; choose one of"),
    ("dataset=image_folder", "dataset.root is missing; give dataset.root=VALUE"),
    ("optim.lr=[", "optim.lr=[ cannot be read"),
    ("plan", "plan is not key=value"),
    ("metod=rsst", "metod is not a key of this configuration (did you mean method?)"),
    ("method=rsst method.penalty.schedule=x^2", """as in "method.penalty.schedule='x^2'\""""),
    ("schedule.target=0.5]", "schedule.target=0.5] cannot be read"),
    # optimiser
    ("optim.lr=0", "optim.lr=0 must be a number above 0"),
    ("optim.lr=null", "optim.lr=null must be a number above 0"),
    ("optim.betas=[0.9,1]", "optim.betas=[0.9, 1] must be 2 values in brackets"),
    ("optim.warmup_epochs=3", "optim.warmup_epochs=3 is longer than a state (schedule.epochs=2)"),
    ("optim.batch_size=1204", "optim.batch_size=1204 is larger than the training split, which has 1203 images"),
    # model
    ("model.family=resnet", "model.family='resnet' is not known; choose one of"),
    ("model.name=vit_smal_patch16_224", "is not a timm model"),
    ("model.name=resnet18", "model.name='resnet18' is not a ViT"),
    ("model.name=vit_tiny_patch16_224", "set model.depth=12"),
    ("model.patch_size=3", "dataset.image_size=8 is not divisible by model.patch_size=3"),
    ("model.num_heads=3", "model.embed_dim=16 is not divisible by model.num_heads=3"),
    ("model.class_token=false model.global_pool=token", "model.global_pool=token needs model.class_token=true"),
    ("model.pretrained=true", "model.name=custom has no pretrained weights"),
    ("model.pretrained={missing}", "missing does not exist"),
    ("model.pretrained={broken_weights}", "cannot be read"),
    ("model.pretrained={other_shape}", "it has blocks.1.mlp.fc1.weight (31, 16) instead of (32, 16)"),
    ("model.pretrained={lacking}", "it lacks blocks.0.attn.qkv.bias"),
    # data
    ("dataset.classes=11", "dataset.classes=11 but the data has 10 classes"),
    ("dataset.classes=1", "dataset.classes=1 must be a whole number of at least 2"),
    ("dataset.image_size=16", "dataset.image_size=16 but the images are [8, 8]"),
    ("dataset.image_size=[8]", "dataset.image_size=[8] must be pixels, or [height, width]"),
    ("dataset.channels=3", "dataset.channels=3 but the images have 1"),
    (f"{FOLDER} dataset.root={{missing}}", "missing does not exist"),
    (f"{FOLDER} dataset.root={{file}}", "file is not a folder"),
    (f"{FOLDER} dataset.root={{empty}}", "has no train/ folder"),
    (f"{FOLDER} dataset.root={{no_images}}", "holds no images"),
    (f"{FOLDER} dataset.root={{broken_image}}", "bee/1.jpg cannot be decoded"),
    (f"{FOLDER} dataset.root={{images}} dataset.channels=2", "dataset.channels=2 must be one of 1, 3"),
    (f"{FOLDER} dataset.root={{images}} dataset.resident=true dataset.augment.crop_scale=0.5", "set crop_scale to 1, or"),
    (f"{FOLDER} dataset.root={{images}} dataset.resident=yes_please", "dataset.resident=yes_please must be"),
    (f"{FOLDER} dataset.root={{images}} optim.batch_size=100", "optim.batch_size=100 is larger than the training split"),
    # this machine
    ("hardware.device=gpu", "hardware.device=gpu must be auto, cpu, cuda or cuda:N"),
    ("hardware.device=cuda:99", "hardware.device=cuda:99 is not there"),
    ("hardware.threads=0", "hardware.threads=0 must be a whole number from 1 to 4096 or null"),
    ("outputs={file}/runs", "cannot be written"),
    # values that cannot mean anything
    ("schedule.states=1e8", "schedule.states=1e+08 must be a whole number from 2 to 10000"),
    ("schedule.states=100000000", "schedule.states=100000000 must be a whole number from 2 to 10000"),
    ("schedule.epochs=10000000000", "schedule.states=3 and schedule.epochs=10000000000 make 20,000,000,002 epochs"),
    ("schedule.states=10000 schedule.epochs=1000", "a run has at most 1,000,000"),
    ("model.depth=1000000", "model.depth=1000000 must be a whole number from 1 to 1000"),
    ("model.embed_dim=1e9", "model.embed_dim=1e+09 must be a whole number from 1 to 65536"),
    ("optim.batch_size=1e12", "optim.batch_size=1e+12 must be a whole number from 1 to 1000000"),
    ("hardware.workers=99999999", "hardware.workers=99999999 must be a whole number from 0 to 1024"),
    ("dataset.image_size=1e6", "dataset.image_size=1e+06 must be pixels, or [height, width]"),
    ("name=..", "name=.. must be letters, digits and . _ + - after a letter, a digit or _"),
    ("name=.", "name=. must be letters"),
    ("name=-rf", "name=-rf must be letters"),
    ("name=+a", "name=+a must be letters"),
    ("outputs=", "outputs is empty; give a folder"),
    # keys of a launcher that was not chosen
    ("hardware.partition=gpu", "hardware.partition is not a key of this configuration (it is one of hardware=slurm)"),
    ("+hardware.partition=gpu", "hardware.partition is read by hardware=slurm only; add that, or leave it out"),
    ("+hardware.jobs=3", "hardware.jobs is read by hardware=local only"),
    ("hardware.time=60", "did you mean hardware.time_minutes?"),
    ("logger.entity=me", "logger.entity is not a key of this configuration (it is one of logger=wandb)"),
    # secrets, whose values no message shows
    ("logger=wandb logger.entity=${{oc.env:DATA_TOKEN}}", "logger.entity would hold what the environment's DATA_TOKEN says"),
    ("+hardware.sbatch=[hush]", "hardware.sbatch write --name=value or --name"),
]  # fmt: skip


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files and folders that are wrong in one way each."""
    base = tmp_path_factory.mktemp("places")
    found = {name: base / name for name in ("missing", "empty", "no_images", "images", "broken_image", "file")}
    found |= {name: base / f"{name}.safetensors" for name in ("broken_weights", "other_shape", "lacking", "fitting")}
    found["empty"].mkdir()
    (found["no_images"] / "train/ant").mkdir(parents=True)
    (found["no_images"] / "test/ant").mkdir(parents=True)
    for root in (found["images"], found["broken_image"]):
        for number in range(16):
            path = root / ("train", "test")[number % 4 == 3] / ("ant", "bee")[number % 2] / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((8, 8, 3), 10 * number, dtype=np.uint8)).save(path)
        (root / "test/ant").mkdir(exist_ok=True)
    broken = found["broken_image"] / "train/bee/1.jpg"
    broken.write_bytes(broken.read_bytes()[:200])
    found["file"].write_text("a file where a folder should be")
    config = compose_config(base / "outputs", *TINY_RUN)
    tensors = build_model(config.architecture(), seed=0).state_dict()
    save_file({**tensors, "blocks.1.mlp.fc1.weight": tensors["blocks.1.mlp.fc1.weight"][1:].clone()}, found["other_shape"])
    save_file(tensors, found["fitting"])
    save_file({name: tensor for name, tensor in tensors.items() if name != "blocks.0.attn.qkv.bias"}, found["lacking"])
    found["broken_weights"].write_bytes(found["lacking"].read_bytes()[:50])
    return found | runs_to_count(base)


def runs_to_count(base: Path) -> dict[str, Path]:
    """Runs of which no other can take its counts."""

    def written(name: str, content: dict[str, Any], states: int = 3) -> Path:
        lines = [state_line(content, state, 80.0) for state in range(states)]
        return write_run(base / name, content, lines, status={} if states == 3 else {"status": "preempted"})

    tiny = compose_config(base / "outputs", *TINY_RUN)
    ours = [method.model_dump(mode="json") for method in (tiny, compose_config(base / "outputs", *TINY_RUN, "method=rsst"))]
    for content in ours:
        written("several", content)
    unfinished, wide = written("unfinished", ours[0], states=2), written("wide", configuration())
    return {"several": base / "several", "unfinished": unfinished, "wide": wide}


def launch(*overrides: str) -> int:
    """What launch.py does after Hydra's command line has been split into overrides; returns the exit code."""
    try:
        with in_one_sentence(), initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
            composed = compose("config", overrides=list(overrides))
        return run_single(composed)
    except SystemExit as left:
        return int(left.code or 0)


def check_sentence(stderr: str, fragment: str) -> None:
    """Exactly one complaint, a sentence, with the fragment in it."""
    (line,) = [line for line in stderr.splitlines() if line.startswith("error: ")]
    assert fragment in line
    assert line.endswith(".")
    assert not line.endswith("..")
    assert ". " not in re.sub(r"\.+ must|digits and \. _", "", line)
    assert "Traceback" not in stderr


def check_untrained(folder: Path) -> None:
    assert [path for path in folder.rglob("metrics.jsonl") if path.stat().st_size] == []


@pytest.mark.parametrize(("overrides", "fragment"), TABLE, ids=[overrides for overrides, _ in TABLE])
def test_one_sentence_before_any_training(
    overrides: str, fragment: str, places: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = overrides.format(**places).split()
    assert launch(*TINY_RUN, f"outputs={tmp_path}", *typed) == 1
    check_sentence(capsys.readouterr().err, fragment)
    check_untrained(tmp_path)


def test_an_extra_that_is_not_installed_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *more: None if name == "torch_pruning" else plain(name, *more))
    assert launch(*TINY_RUN, f"outputs={tmp_path}", "method.criterion=tp_taylor") == 1
    check_sentence(capsys.readouterr().err, "method.criterion=tp_taylor needs torch-pruning; install it with: pip install")
    check_untrained(tmp_path)


def test_a_pretrained_file_can_be_put_right_but_not_changed_under_a_run(
    places: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "weights.safetensors"
    command = [*TINY_RUN, f"outputs={tmp_path}", f"model.pretrained={weights}"]
    weights.write_bytes(places["lacking"].read_bytes())
    assert launch(*command) == 1
    check_sentence(capsys.readouterr().err, "it lacks blocks.0.attn.qkv.bias")
    weights.write_bytes(places["fitting"].read_bytes())
    monkeypatch.setattr("prune.engine.watch.Watcher.epoch", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    assert launch(*command) == 130
    monkeypatch.undo()
    weights.write_bytes(places["other_shape"].read_bytes())
    assert launch(*command) == 1
    check_sentence(capsys.readouterr().err, "weights.safetensors has changed since this run began")
    weights.write_bytes(places["fitting"].read_bytes())
    assert launch(*command) == 0


def test_the_run_that_the_table_spoils_is_fine(tmp_path: Path) -> None:
    assert launch(*TINY_RUN, f"outputs={tmp_path}") == 0


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        ("schedule.targt=0.5", "error: schedule.targt is not a key of this configuration (did you mean schedule.target?)."),
        ("-m +optim.learning=1,2", "error: +optim.learning=1: optim.learning is not a key of this configuration ("),
        ("-m schedule.target=0.5,1.5", "error: schedule.target=1.5: schedule.target=1.5 must be a number above 0 and below 1."),
        ("seed=0,1", "error: seed=0,1 is more than one value; -m runs each of them, and brackets make a list: seed=[0,1]."),
        ("-m method=refill,rest", "error: method=rest must be one of dense, phases, refill, rsst, scratch."),
        ("outputs={file}/runs", "cannot be written"),
        ("optim.batch_size=5000", "optim.batch_size=5000 is larger than the training split, which has 1203 images."),
    ],
)
def test_the_real_command(arguments: str, fragment: str, places: dict[str, Path], tmp_path: Path) -> None:
    typed = arguments.format(**places).split()
    where = [] if "outputs=" in arguments else [f"outputs={tmp_path}"]
    flags = [argument for argument in typed if argument == "-m"]
    rest = [argument for argument in typed if argument != "-m"]
    command = [sys.executable, str(ROOT / "launch.py"), *flags, *TINY_RUN, *where, *rest]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 1, result.stderr
    check_sentence(result.stderr, fragment)
    check_untrained(tmp_path)
