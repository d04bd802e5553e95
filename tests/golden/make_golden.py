"""Compute the reference arrays in `arrays/` with torchvision, from weights that are a formula of their names.

    PEERS/bin/python -m tests.golden.make_golden

Run it in the project's root. `PEERS` is a virtual environment with torch and torchvision; `arrays/versions.json` holds
their versions. The shapes of all parameters are written too, so that a test makes the same weights without torch.
"""
from __future__ import annotations

import datetime
import io
import json
import platform
from pathlib import Path

import numpy as np
import torch
import torchvision
from torch import nn
from torch.nn import functional
from torchvision.models import detection, resnet18, segmentation
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler
from torchvision.models.detection.roi_heads import fastrcnn_loss

from tests.golden import formula

FOLDER = Path(__file__).parent / "arrays"
EVERYTHING = 1_000_000  # a sampler that may take so many takes all candidates: no random choice is left
IGNORED = 255


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    FOLDER.mkdir(exist_ok=True)
    with torch.no_grad():
        for make in (resnet, deeplabv3, maskrcnn, losses):
            make()
    torch_files()
    versions = {"torch": torch.__version__, "torchvision": torchvision.__version__, "numpy": np.__version__,
                "python": platform.python_version(), "date": datetime.date.today().isoformat()}
    (FOLDER / "versions.json").write_text(json.dumps(versions, indent=1) + "\n")
    size = sum(path.stat().st_size for path in FOLDER.iterdir())
    print(f"{FOLDER}: {len(list(FOLDER.iterdir()))} files, {size / 1e6:.1f} MB")


def write(name: str, **arrays) -> None:
    np.savez_compressed(FOLDER / f"{name}.npz", **{k: np.asarray(v) for k, v in arrays.items()})


def with_formula_weights(network: nn.Module, name: str) -> nn.Module:
    """The network in evaluation mode with the formula's parameters; their shapes are written down."""
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    (FOLDER / f"{name}.shapes.json").write_text(json.dumps(shapes, separators=(",", ":")) + "\n")
    network.load_state_dict({key: torch.from_numpy(np.array(v)) for key, v in formula.parameters(shapes).items()})
    return network.eval()


def normalised(image: np.ndarray) -> torch.Tensor:
    mean, std = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    return torchvision.transforms.functional.normalize(torch.from_numpy(image), mean, std)[None]


def resnet() -> None:
    """ResNet-18 for classification: features of the last stage."""
    network = with_formula_weights(resnet18(), "resnet18")
    features = {}
    network.layer4.register_forward_hook(lambda module, inputs, output: features.update(c5=output))
    x = normalised(formula.image("resnet", 64, 96))
    network(x)
    write("resnet18", x=x, c5=features["c5"])


def deeplabv3() -> None:
    """DeepLabV3 of five classes at stride 8: features, logits of both heads, and the cross entropy of each."""
    network = with_formula_weights(segmentation.deeplabv3_resnet50(
        weights=None, weights_backbone=None, num_classes=5, aux_loss=True), "deeplabv3_resnet50")
    image = formula.image("deeplabv3", 65, 97)
    label = np.digitize(image[0], [0.2, 0.4, 0.6, 0.8]).astype(np.uint8)
    label[:, :7] = IGNORED
    x = normalised(image)
    c5, output = network.backbone(x)["out"], network(x)
    loss = [functional.cross_entropy(output[key], torch.from_numpy(label[None]).long(), ignore_index=IGNORED).item()
            for key in ("out", "aux")]
    write("deeplabv3_resnet50", x=x, label=label, c5=c5[:, ::16], logits=output["out"],
          auxiliary_logits=output["aux"], losses=np.float64(loss))


def maskrcnn() -> None:
    """Mask R-CNN of seven classes: the network's input, proposals and final detections of one image."""
    network = with_formula_weights(detection.maskrcnn_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=7, min_size=128, max_size=192, box_detections_per_img=20,
        rpn_pre_nms_top_n_test=300, rpn_post_nms_top_n_test=300), "maskrcnn_resnet50_fpn")
    image = formula.image("maskrcnn", 128, 176)
    images, _ = network.transform([torch.from_numpy(image)])
    features = network.backbone(images.tensors)
    proposals, _ = network.rpn(images, features)
    found = network([torch.from_numpy(image)])[0]
    write("maskrcnn_resnet50_fpn", image=image, input=images.tensors, proposals=proposals[0],
          boxes=found["boxes"], labels=found["labels"].int(), scores=found["scores"],
          masks=np.packbits((found["masks"][:, 0] >= 0.5).numpy(), axis=-1))


def losses() -> None:
    """Losses of Mask R-CNN's region proposal network and box head on given predictions, over all anchors and RoIs."""
    rpn = detection.maskrcnn_resnet50_fpn(weights=None, weights_backbone=None).rpn
    rpn.fg_bg_sampler = BalancedPositiveNegativeSampler(EVERYTHING, 0.5)
    truth = torch.tensor([[10.0, 12, 42, 44], [50, 20, 90, 75], [4, 60, 24, 92]])
    corners = 48 + 48 * torch.from_numpy(formula.uniform("anchors", (200, 2)))
    sides = 28 + 16 * torch.from_numpy(formula.uniform("sides", (200, 2)))
    near = truth.repeat(20, 1) + 6 * torch.from_numpy(formula.uniform("near", (60, 4)))
    anchors = torch.cat((torch.cat((corners, corners + sides), 1), near))
    logits = torch.from_numpy(formula.uniform("objectness", (260, 1)))
    deltas = torch.from_numpy(formula.uniform("rpn deltas", (260, 4)))
    labels, matched = rpn.assign_targets_to_anchors([anchors], [{"boxes": truth}])
    targets = rpn.box_coder.encode(matched, [anchors])
    rpn_losses = [value.item() for value in rpn.compute_loss(logits, deltas, labels, targets)]

    boxes, classes = anchors[200:], torch.arange(60) % 4
    class_logits = torch.from_numpy(2 * formula.uniform("class logits", (60, 4)))
    regression = torch.from_numpy(formula.uniform("box deltas", (60, 16)))
    coder = detection._utils.BoxCoder((10.0, 10.0, 5.0, 5.0))
    roi_targets = coder.encode([truth.repeat(20, 1)], [boxes])
    roi_losses = [value.item() for value in fastrcnn_loss(class_logits, regression, [classes], roi_targets)]
    write("losses", truth=truth, anchors=anchors, objectness=logits[:, 0], deltas=deltas, rpn=np.float64(rpn_losses),
          roi_classes=classes.int(), class_logits=class_logits, box_deltas=regression.reshape(60, 4, 4),
          roi=np.float64(roi_losses))


def torch_files() -> None:
    """State dicts as torch.save writes them: every format and protocol, views, a Parameter, all kinds of numbers."""
    base = torch.arange(12, dtype=torch.float32).reshape(3, 4)
    state = {"matrix": base, "transposed": base.T, "row": base[1], "scalar": torch.tensor(7),
             "parameter": nn.Parameter(base[:, 1].clone()), "empty": torch.zeros(0, 3)}
    state |= {str(kind).removeprefix("torch."): torch.tensor([0, 1, 2]).to(kind)
              for kind in (torch.float64, torch.float16, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)}
    for name, options in {"zip": {}, "legacy": {"_use_new_zipfile_serialization": False},
                          "protocol4": {"pickle_protocol": 4}, "protocol5": {"pickle_protocol": 5},
                          "legacy_protocol4": {"pickle_protocol": 4, "_use_new_zipfile_serialization": False}}.items():
        buffer = io.BytesIO()
        torch.save(state, buffer, **options)
        (FOLDER / f"{name}.pth").write_bytes(buffer.getvalue())
    torch.save(nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).state_dict(), FOLDER / "module.pth")
    write("state_dict", **{name: value.detach().numpy() for name, value in state.items()})


if __name__ == "__main__":
    main()
