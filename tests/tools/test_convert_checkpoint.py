"""The conversion as a user runs it: from another directory, with a report, and an exit status for what cannot be."""
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from src.weights.families import FAMILIES
from src.weights.formats import read_tensors, write_tensors
from src.weights.names import convolution_shapes, from_ours, required

TOOL = Path(__file__).parents[2] / "src" / "tools" / "convert_checkpoint.py"


@pytest.fixture
def resnet(tmp_path):
    """A file with every name of the zoo's ResNet-18; norms and classifier are tiny."""
    table, shapes = FAMILIES["zoo_resnet"], convolution_shapes("resnet18")
    names = required(table, ["layer3.1.conv1.weight"], "here")
    tensors = {from_ours(table, n).name: np.ones(shapes.get(n, (2, 2) if n == "fc.weight" else 64), np.float32)
               for n in names}
    write_tensors(tmp_path / "zoo.npz", {**tensors, "moments.conv1.weight": np.ones(1)}, {})
    return tmp_path / "zoo.npz"


def convert(folder, *arguments):
    return subprocess.run([sys.executable, str(TOOL), *arguments], cwd=folder, capture_output=True, text=True,
                          timeout=60, check=False)


def test_conversion_and_the_way_back(tmp_path, resnet):
    done = convert(tmp_path, "zoo.npz", "--to", "ours.safetensors", "--family=auto")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "mapped      bn1.gamma" in lines
    assert "ignored     moments.conv1.weight" in lines
    assert "renamed     layer2.0.down_sample_layer.0.weight -> layer2.0.downsample.0.weight" in lines
    assert "renamed     end_point.bias -> fc.bias" in lines
    assert ("zoo.npz: zoo_resnet weights: 102 mapped (17 renamed, 0 transposed), 0 left over, 0 missing, 0 of another "
            "shape, 1 of training state ignored") in lines
    assert "stem_pool              same" in lines
    assert "backbone               resnet18" in lines

    back = convert(tmp_path, "ours.safetensors", "--to", "back.safetensors", "--family", "torchvision")
    assert back.returncode == 0, back.stderr
    assert "stem_pool: 'same' here, 'pad' in torchvision_resnet" in back.stdout
    tensors, _ = read_tensors(tmp_path / "back.safetensors")
    assert len(tensors) == 122
    assert tensors["bn1.running_var"].shape == (64,)
    assert tensors["layer4.0.downsample.1.num_batches_tracked"].dtype == np.int64


@pytest.mark.parametrize(("arguments", "message"), [
    (["zoo.npz", "--to", "zoo.npz"], "--to=zoo.npz: exists already"),
    (["zoo.npz", "--to", "out.pth"], "--to=out.pth: suffix '.pth' is none of .ckpt, .safetensors, .npz"),
    (["zoo.npz", "--to", "none/out.npz"], "folder none does not exist"),
    (["none.npz", "--to", "out.npz"], "none.npz: no such file"),
    (["zoo.npz", "--to", "out.npz", "--family=zoo_deeplabv3"], "it looks like zoo_resnet"),
    (["zoo.npz", "--to", "out.npz", "--famly=zoo"], "did you mean --family"),
    (["evil.pth", "--to", "out.npz"], "would call posix.system"),
])
def test_what_cannot_be_converted(tmp_path, resnet, arguments, message):
    (tmp_path / "evil.pth").write_bytes(b"\x80\x02cposix\nsystem\n(X\x0e\x00\x00\x00touch executedtR.")
    before = resnet.read_bytes()
    done = convert(tmp_path, *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["evil.pth", "zoo.npz"]
    assert resnet.read_bytes() == before


def test_a_missing_tensor_is_an_error_unless_expected(tmp_path, resnet):
    tensors, _ = read_tensors(resnet)
    del tensors["layer4.1.bn1.beta"]
    tensors["extra.weight"] = np.ones(2, np.float32)
    write_tensors(tmp_path / "odd.npz", tensors, {})
    refused = convert(tmp_path, "odd.npz", "--to", "out.npz")
    assert refused.returncode == 2
    assert "1: extra.weight left over" in refused.stderr
    assert "1: layer4.1.bn1.beta missing" in refused.stderr
    assert "--expect_missing=GLOB" in refused.stderr
    assert "--expect_unexpected=GLOB" in refused.stderr
    assert not (tmp_path / "out.npz").exists()
    done = convert(tmp_path, "odd.npz", "--to", "out.npz", "--expect_missing=*bn1.beta", "--expect_unexpected=extra.*")
    assert done.returncode == 0, done.stderr
    assert "missing     layer4.1.bn1.beta (as expected)" in done.stdout
