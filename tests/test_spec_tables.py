"""Every value of the documentation's tables of parameters, as it is written there, as a flag and in a YAML file."""
import ast
import re

import pytest

from src import tasks
from src.config import parse
from src.maskrcnn.config import MaskRCNNConfig

TABLES = {"deeplabv3": ('"data_file":"/PATH', "## 训练过程"), "maskrcnn": ('"img_width":1280', "## 训练过程")}
SIZES = {"deeplabv3": 17, "maskrcnn": 99}
SWITCHES = {"is_distributed", "freeze_bn"}  # the table leaves their values out


def table(shared, model: str) -> dict[str, str]:
    """{key: value as it is written}."""
    text = (shared / f"spec/{model}.md").read_text(encoding="utf-8")
    first, last = TABLES[model]
    text = re.sub(r"\s*#.*", "", text[text.index(first):text.index(last)])
    found = re.findall(r'^"(\w+)":[ ]*(.*?),?\s*(?=^"|^0\.9|^```|\Z)', text, re.M | re.S)
    return {key: " ".join(value.split()).removesuffix(",") for key, value in found}


def value_of(written: str):
    """What a value means, by Python's own rules where it is Python."""
    try:
        return eval(written, {"__builtins__": {}, "dict": dict})  # of the documentation, in a test
    except NameError:
        return written


def parsed(model: str, *words: str):
    cls = tasks.config_class(next(name for name, row in tasks.MODELS.items() if f".{model}." in row[0]))
    presets = __import__(f"src.{model}.config", fromlist=["PRESETS"]).PRESETS
    return parse(cls, words, program="train.py", groups=("common", "train"), presets=presets)


def plain(value):
    if hasattr(value, "model_dump"):
        return value.model_dump()
    return [plain(entry) for entry in value] if isinstance(value, (list, tuple)) else value


@pytest.mark.parametrize("model", TABLES)
def test_each_value_is_accepted_as_it_is_written(shared, model, tmp_path, caplog):
    values = table(shared, model)
    assert len(values) == SIZES[model]
    for key, written in values.items():
        path = tmp_path / f"{key}.yaml"
        path.write_text(f"{key}: {written or True}\n", encoding="utf-8")
        bare = f"--{key}={ast.literal_eval(written)}" if written[:1] == '"' else f"--{key}={written}"
        expected = value_of(written) if written else True
        for word in (bare if written else f"--{key}", f"--config={path}"):
            caplog.clear()
            config = parsed(model, word)
            name = config.spellings()[key]
            if name in config.retired:
                assert "has no effect" in caplog.text
                continue
            assert caplog.text == "", word
            found = config.derived[name](config) if name in config.derived else getattr(config, name)
            assert plain(found) == plain(expected), word
    assert {key for key, written in values.items() if not written} == (SWITCHES if model == "deeplabv3" else set())


def test_the_whole_table_as_a_file_is_the_default_configuration(shared, tmp_path):
    values = table(shared, "maskrcnn")
    path = tmp_path / "table.yaml"
    path.write_text("".join(f"{key}: {written}\n" for key, written in values.items()), encoding="utf-8")
    own = {"data_file", "coco_root", "coco_classes", "num_classes"}
    found, default = (c.model_dump(exclude=own) for c in (parsed("maskrcnn", f"--config={path}"), MaskRCNNConfig()))
    assert found == default
