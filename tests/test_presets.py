"""Every preset loads, and says what the published recipe says where a command line does not."""
from pathlib import Path

import pytest

from src import tasks

ROOT = Path(__file__).parents[1]
PRESETS = sorted(ROOT.glob("src/*/configs/*.yaml"))
RECIPES = ("standalone", "s16_r1", "s8_r1", "s8_r2")
SCALES = (0.5, 0.75, 1.0, 1.25, 1.75)


def load(*flags: str, program: str = "train.py"):
    return tasks.parse_settings(flags, program=program, groups=(program.removesuffix(".py"),))


def model_of(path: Path) -> str:
    """A model that this preset's folder belongs to: the first whose configuration knows the folder."""
    return next(name for name, row in tasks.MODELS.items() if row[0].startswith(f"src.{path.parents[1].name}."))


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: f"{path.parents[1].name}-{path.stem}")
def test_every_preset_loads_by_name_and_explains_itself(path):
    model = [] if "model:" in path.read_text(encoding="utf-8") else [f"--model={model_of(path)}"]
    for program in ("train.py", "eval.py"):
        assert load(*model, f"--config={path.stem}", program=program).model_fields_set
    assert path.read_text(encoding="utf-8").startswith("# ")


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_drop_as_many_features_as_the_published_networks(name):
    settings = load(f"--config={name}")
    assert settings.dropout == 0.7
    assert settings.freeze_bn is False
    assert settings.norm == "batch"
    assert settings.backbone == "resnet101"
    assert settings.aspp_rates == (6, 12, 18)
    assert settings.loss_scale == (2048 if name.startswith("s8") else 3072)
    assert "colour_order" not in settings.model_fields_set  # the pretrained weights say it


def test_the_default_is_the_published_recipes():
    assert load().dropout == 0.7


@pytest.mark.parametrize(("name", "rate"), [("camvid", 0.1), ("quickstart", 0.05)])
def test_small_recipes_name_their_dropout(name, rate):
    settings = load(f"--config={name}")
    assert settings.dropout == rate
    assert "dropout" in settings.model_fields_set


@pytest.mark.parametrize(("name", "model", "batch_size", "scales", "flip"), [
    ("eval_s16", "deeplab_v3_s16", 32, (1.0,), False), ("eval_s8", "deeplab_v3_s8", 16, (1.0,), False),
    ("eval_s8_multiscale", "deeplab_v3_s8", 16, SCALES, False),
    ("eval_s8_multiscale_flip", "deeplab_v3_s8", 16, SCALES, True)])
def test_evaluations(name, model, batch_size, scales, flip):
    settings = load(f"--config={name}", program="eval.py")
    assert (settings.model, settings.batch_size, settings.scales, settings.flip) == (model, batch_size, scales, flip)
    assert settings.freeze_bn is True
    assert {"num_classes", "crop_size"}.isdisjoint(settings.model_fields_set)  # the checkpoint says them


def test_a_flag_wins_over_the_preset():
    assert load("--config=s8_r1", "--train_epochs=3").epochs == 3
    assert load("--train_epochs=3", "--config=s8_r1").epochs == 3


def test_the_quick_start_runs_on_a_cpu():
    settings = load("--config=quickstart")
    assert settings.device_target == "CPU"
    assert settings.num_classes == len(settings.class_names) == 6
