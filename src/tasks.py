"""The table of the models: the only place that knows both."""
from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path

from src.command_line import nearest
from src.compile_cache import private
from src.config import build, parse
from src.contract import InputError, Task
from src.engine import inference_engine
from src.engine.precision import check_level
from src.engine.run_folder import check_free
from src.engine.settings import BEFORE_THE_KEYS, Settings

# Rows: module of the configuration, configuration class, module of the task, task class.
_DEEPLABV3 = ("src.deeplabv3.config", "DeepLabV3Config", "src.deeplabv3.task", "DeepLabV3Task")
_MASKRCNN = ("src.maskrcnn.config", "MaskRCNNConfig", "src.maskrcnn.task", "MaskRCNNTask")
MODELS = {"deeplab_v3_s16": _DEEPLABV3, "deeplab_v3_s8": _DEEPLABV3, "mask_rcnn_r50": _MASKRCNN}
FAMILIES = {"deeplabv3": _DEEPLABV3, "maskrcnn": _MASKRCNN}  # such a name means the default of the option `model`
DEFAULT = "deeplabv3"


def parse_settings(argv: Sequence[str], *, program: str, groups: Sequence[str]):
    """Parse the command line of the model that it names, without importing MindSpore.

    Args:
        argv: the words after the program's name. The model is `--model`, else the checkpoint's, else the default.
        program, groups: see `config.parse`.
    """
    model = _flag(argv, "--model") or ("" if "train" in groups else _model_of_command(argv)) or DEFAULT
    module, cls = _row(model)[:2]
    module = importlib.import_module(module)
    return parse(getattr(module, cls), argv, program=program, groups=("common", *groups), presets=module.PRESETS,
                 elsewhere=keys_of_other_models(model))


def create(config) -> Task:
    """The task of a configuration. Imports MindSpore."""
    module, cls = _row(config.model)[2:]
    return getattr(importlib.import_module(module), cls)(config)


def settings_of(checkpoint: str, **changes):
    """The configuration that a checkpoint of ours was trained with, with `changes`."""
    from src.engine.checkpoint import load

    _, metadata = load(Path(checkpoint))
    if "config" not in metadata:
        raise InputError(f"{checkpoint}: holds no configuration; give a checkpoint that train.py wrote")
    values = {"noise": 1, **BEFORE_THE_KEYS} | metadata["config"] | changes
    return build(config_class(metadata["config"]["model"]), values)


def check(settings, *splits: str) -> None:
    """Refuse whatever can be refused without MindSpore, whose import takes seconds.

    Args:
        splits: those that are going to be read, "train" or "val".

    Raises:
        InputError: float16 on a CPU, OpenVINO elsewhere or where it is not installed, or a weights file or data that
            is missing.
    """
    check_level(settings.amp_level, settings.device_target)
    inference_engine.check(settings.inference_engine, settings.device_target)
    if settings.compile_cache:
        private.claim()
    if settings.checkpoint or settings.pretrained:
        _check_file(settings.checkpoint or settings.pretrained)
    for split in splits:
        settings.check_data(split)


def check_training(settings) -> None:
    """`check` of a training run, and its folder. Of a step that is repeated, its file; that names the data.

    Raises:
        InputError: see `check`; and a folder that belongs to another run.
    """
    if settings.replay:
        _check_file(settings.replay)
        return
    check(settings, "train", *(["val"] if settings.eval_interval or settings.preview_interval else []))
    if not settings.is_distributed:  # else the first rank looks, once all have met
        check_free(Path(settings.output_dir), settings.model, resume=settings.resume)


def with_conventions(settings):
    """`settings` with its weights' conventions (`checkpoint`, else `pretrained`) for keys that the user did not set.

    Training that starts from weights keeps its own classes and input size; evaluation and export adopt everything.
    """
    path, keys = settings.checkpoint, settings.network_keys()
    if not path:
        path, keys = settings.pretrained, settings.weight_keys()
    if path:
        from src.weights.load import read_weights

        report = read_weights(path).report
        trained_here = report.family == "mindseg" and report.conventions.keys() & {"num_classes"}
        said = settings.translate((BEFORE_THE_KEYS if trained_here else {}) | report.conventions)
        try:
            settings = settings.adopting(said, keys)
        except InputError as error:
            raise InputError(f"{path}: its conventions and the flags given do not fit together: {error}"
                             ) from error
    return settings.completed()


def _check_file(path: str) -> None:
    from src.weights.formats import check_file  # imports NumPy, which --help does without

    check_file(path)


def _row(model: str) -> tuple[str, str, str, str]:
    known = MODELS | FAMILIES
    if model not in known:
        raise InputError(f"--model={model}: unknown model{nearest(model, known) or '.'} Models: {', '.join(known)}")
    return known[model]


def config_class(model: str) -> type:
    """The configuration class of a model, without importing MindSpore."""
    module, cls = _row(model)[:2]
    return getattr(importlib.import_module(module), cls)


def keys_of_other_models(model: str) -> dict[str, str]:
    """{spelling: remark} of the keys that other models have and this one has not, for messages."""
    own = config_class(model)
    others = [config_class(family) for family in FAMILIES if family != own.family]
    return {spelling: f"is a setting of {cls.family}, not of {own.family}" for cls in others
            for spelling in cls.spellings() if spelling not in own.spellings()}


def model_of_weights(path: str | Path) -> str:
    """The model that a weights file is of; empty where the file does not say."""
    from src.weights.load import read_weights

    report = read_weights(path).report
    return report.conventions.get("model", "mask_rcnn_r50" if "rpn.conv.weight" in report.mapped else "")


def _model_of_command(argv: Sequence[str]) -> str:
    """The model that the checkpoint on a command line is of; empty without a checkpoint, or where it does not say.

    So evaluation and export need no `--model`. A preset says its model itself.
    """
    path = _flag(argv, *(f"--{n}" for n in ("checkpoint", *Settings.keys()["checkpoint"].aliases)))
    if not Path(path).is_file() or _flag(argv, "--config"):
        return ""  # a missing file is reported where it is opened
    return model_of_weights(path)


def _flag(argv: Sequence[str], *names: str) -> str:
    """The value of the first of these flags on a command line, or an empty string."""
    for word, following in zip(argv, [*argv[1:], ""]):
        name, _, value = word.partition("=")
        if name in names:
            return value or following
    return ""
