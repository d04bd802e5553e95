"""Options of training in whole runs: bits of resumed runs, and what is refused."""
import pytest

from src.config import build
from src.contract import InputError
from src.engine import checkpoint, loop
from src.engine.settings import Settings
from tests.engine.tiny_task import CPU, TinyTask, settings

pytestmark = pytest.mark.usefixtures("graph_mode")
ADAMW = {"optimizer": "adamw", "base_lr": 0.01, "layer_decay": 0.5, "weight_decay": 0.1, "clip_norm": 1.0,
         "dynamic_loss_scale": True, "loss_scale": 1024.0}
STATE = {"weight", "state.mean.weight", "state.square.weight", "global_step", "state.loss_scale"}


@pytest.mark.parametrize(("options", "state"), [
    (ADAMW, STATE),
    (ADAMW | {"accumulate_steps": 3, "ema_decay": 0.9}, STATE | {"state.raw.weight", "state.accumulated.weight"})])
def test_a_resumed_run_ends_with_the_bits_of_the_undisturbed_one(options, state, tmp_path):
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    last = loop.train(TinyTask(), settings(whole, **options), CPU)
    torn.mkdir()
    (torn / "line-1_3.ckpt").write_bytes((whole / "line-1_3.ckpt").read_bytes())
    again = loop.train(TinyTask(), settings(torn, resume=True, **options), CPU)
    ours, theirs = (checkpoint.load(path)[0] for path in (again, last))
    assert ours.keys() == theirs.keys() >= state
    assert [name for name, value in ours.items() if value.asnumpy().tobytes() != theirs[name].asnumpy().tobytes()] == []


@pytest.mark.parametrize(("values", "message"), [
    ({"ema_decay": 1.0}, "--ema_decay=1.0: .*less than 1"),
    ({"ema_decay": -0.1}, "--ema_decay=-0.1: .*greater than or equal to 0"),
    ({"layer_decay": 0.0}, "--layer_decay=0.0: .*greater than 0"),
    ({"layer_decay": 1.5}, "--layer_decay=1.5: .*less than or equal to 1"),
    ({"optimizer": "adam"}, "--optimizer='adam': .*'momentum' or 'adamw'"),
    ({"optimizer": "adamw"}, "optimizer=adamw: base_lr=0.015, the default, is of momentum; .* Give --base_lr=0.0001"),
    ({"adam_betas": (0.9, 1.0), "optimizer": "adamw", "base_lr": 1e-3}, "--adam_betas.*less than 1"),
    ({"adam_betas": (0.5, 0.9)}, r"adam_betas=\(0.5, 0.9\) has no effect without optimizer=adamw; give"),
    ({"adam_eps": 0.1}, "adam_eps=0.1 has no effect without optimizer=adamw; give --optimizer=adamw too"),
])
def test_values_that_cannot_work_are_refused(values, message):
    with pytest.raises(InputError, match=message):
        build(Settings, values, {name: f"--{name}" for name in values})
