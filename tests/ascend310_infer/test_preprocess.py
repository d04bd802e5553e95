"""The program's network inputs against the Python recipes', on real and on awkward images."""
import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from src.data.decode import AS_STORED, Decoding, decode_image
from src.deeplabv3.preprocess import Preprocess as SemanticPreprocess
from src.maskrcnn.preprocess import Preprocess as InstancePreprocess
from tests.ascend310_infer.tiny_models import SPEC, changed, instance_model, instance_spec, run, save, semantic_model

pytestmark = pytest.mark.slow
MEAN, STD = tuple(SPEC["normalise"]["mean"]), tuple(SPEC["normalise"]["std"])


def picture(height: int, width: int) -> np.ndarray:
    noise = np.random.default_rng(height * width).integers(0, 256, (height // 8 + 2, width // 8 + 2, 3), np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


def encoded(image: np.ndarray, suffix: str, *flags: int) -> bytes:
    return cv2.imencode(suffix, image, flags)[1].tobytes()


def pillow(image: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def awkward_images() -> dict[str, bytes]:
    a, deep = picture(300, 200), np.random.default_rng(1).integers(0, 65536, (50, 70, 3)).astype(np.uint16)
    exif, as_pillow = Image.Exif(), Image.fromarray(a)
    exif[0x112] = 6  # turned by 90 degrees
    files = {
        "portrait.jpg": encoded(a, ".jpg"), "landscape.jpg": encoded(picture(150, 333), ".jpg"),
        "large.jpg": encoded(picture(900, 1400), ".jpg"), "progressive.jpg": encoded(a, ".jpg", 2, 1),
        "gray.jpg": encoded(a[..., 0], ".jpg"), "gray.png": encoded(a[..., 0], ".png"),
        "alpha.png": encoded(np.dstack([a, a[..., :1]]), ".png"), "bits16.png": encoded(deep, ".png"),
        "gray16.png": encoded(deep[..., 0], ".png"), "bits16.tif": encoded(deep, ".tiff"),
        "one.png": encoded(a[:1, :1], ".png"), "two.jpg": encoded(a[:2, :3], ".jpg"),
        "flat.png": encoded(a[:1, :150], ".png"), "tall.png": encoded(a[:200, :1], ".png"),
        "exact.png": encoded(picture(65, 65), ".png"), "double.png": encoded(picture(130, 130), ".png"),
        "small.webp": encoded(picture(40, 30), ".webp"), "plain.bmp": encoded(a, ".bmp"),
        "exif.jpg": pillow(as_pillow, "JPEG", exif=exif), "exif.png": pillow(as_pillow, "PNG", exif=exif),
        "exif.webp": pillow(as_pillow, "WEBP", exif=exif),
        "palette.png": pillow(as_pillow.quantize(50), "PNG", transparency=3),
        "bit.png": pillow(as_pillow.convert("1"), "PNG"), "cmyk.jpg": pillow(as_pillow.convert("CMYK"), "JPEG")}
    return {f"{n:02d}_{name}": data for n, (name, data) in enumerate(files.items())}


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    """Awkward images, and real ones where they are there."""
    folder = tmp_path_factory.mktemp("images")
    for name, data in awkward_images().items():
        (folder / name).write_bytes(data)
    real = Path(__file__).parents[3] / "shared/data"
    for path in [*sorted((real / "camvid/JPEGImages").glob("*.jpg"))[:15],
                 *sorted((real / "coco_open/val2017").glob("*.jpg"))[:30],
                 *sorted((real / "nuclei/val2018").glob("*"))[:5]]:
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


SEMANTIC = {
    "rgb": (SPEC, SemanticPreprocess("RGB", MEAN, STD)),
    "turned": (changed(SPEC, decode__exif_orientation="turned"),
               SemanticPreprocess("RGB", MEAN, STD, Decoding("turn"))),
    "bgr": (changed(SPEC, decode__colour_order="BGR"), SemanticPreprocess("BGR", MEAN, STD)),
}
INSTANCE = {
    "canvas": ({}, {}),
    "floor": ({"resize__rounding": "floor"}, {"rounding": "floor"}),
    "short_side": ({"resize__rule": "short_side"}, {}),
    "stretch": ({"resize__rule": "stretch"}, {"keep_ratio": False}),
    "black": ({"pad__value": "black_before_normalisation"}, {"pad_before_normalise": True}),
    "bgr": ({"decode__colour_order": "BGR"}, {"colour_order": "BGR"}),
}


def compare(program, model, images, folder, prepare, shape, how=AS_STORED) -> None:
    """Every input within one of 255 steps, and the files of equal number."""
    ran = run(program, model, images, folder / "results", f"--dump_inputs={folder / 'inputs'}")
    assert ran.returncode == 0, ran.stderr
    paths = sorted(images.iterdir())
    assert len(list((folder / "inputs").iterdir())) == len(paths) >= 20
    step = 1.0 / np.array(STD, np.float32)
    for path in paths:
        found = np.fromfile(folder / f"inputs/{path.stem}.bin", np.float32).reshape(shape)
        expected = prepare(decode_image(path.read_bytes(), how))
        assert (np.abs(found - expected).max((1, 2)) <= step * 1.0001).all(), path.name
        assert (found != 0).any()


@pytest.mark.parametrize("name", SEMANTIC)
def test_inputs_of_deeplab(name, program, images, tmp_path):
    spec, preprocess = SEMANTIC[name]
    compare(program, semantic_model(tmp_path, spec), images, tmp_path, lambda i: preprocess.fit(i, 65)[0], (3, 65, 65),
            preprocess.decoding)


@pytest.mark.parametrize("name", INSTANCE)
def test_inputs_of_mask_rcnn(name, program, images, tmp_path):
    changes, options = INSTANCE[name]
    arrays = {"boxes": np.zeros((1, 2, 4), np.float32), "labels": np.zeros((1, 2), np.int32),
              "scores": np.zeros((1, 2), np.float32), "valid": np.zeros((1, 2), bool),
              "masks": np.zeros((1, 2, 28, 28), np.float32)}
    spec = changed(instance_spec(arrays, height=64, width=96), **changes)
    preprocess = InstancePreprocess((64, 96), MEAN, STD, **options)
    model = instance_model(tmp_path, spec, arrays)
    compare(program, model, images, tmp_path, lambda i: preprocess.prepare(i)[0], (3, 64, 96))


@pytest.mark.parametrize(("pad", "padding"), [("black_before_normalisation", 0), ("mean", np.array(MEAN).round())])
def test_bytes_for_a_model_that_normalises_itself(program, tmp_path, pad, padding):
    """uint8 NHWC, as with AIPP: the pixels themselves, padded with what the model's normalisation takes to 0."""
    import onnx
    from onnx import helper

    spec = changed(SPEC, inputs__0={"name": "image", "shape": [1, 65, 65, 3], "dtype": "uint8", "layout": "NHWC"},
                   normalise__in_model=True, pad__value=pad)
    nodes = [helper.make_node("Cast", ["image"], ["pixels"], to=onnx.TensorProto.FLOAT),
             helper.make_node("Transpose", ["pixels"], ["scores"], perm=[0, 3, 1, 2])]
    model = save(tmp_path / "m", spec, nodes, {"image": [1, 65, 65, 3]}, {"scores": [1, 3, 65, 65]}, [])
    content = onnx.load(model)
    content.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    onnx.save(content, model)
    (tmp_path / "images").mkdir()
    image = picture(65, 40)
    (tmp_path / "images/a.png").write_bytes(encoded(image, ".png"))
    ran = run(program, model, tmp_path / "images", tmp_path / "r", f"--dump_inputs={tmp_path / 'inputs'}")
    assert ran.returncode == 0, ran.stderr
    found = np.fromfile(tmp_path / "inputs/a.bin", np.uint8).reshape(65, 65, 3)
    assert (found[:, :40] == image[..., ::-1]).all()
    assert (found[:, 40:] == padding).all()
    labels = cv2.imread(str(tmp_path / "r/labels/a.png"), cv2.IMREAD_UNCHANGED)
    assert (labels == image[..., ::-1].argmax(-1)).all()
    assert json.loads((tmp_path / "r/index.json").read_text())["images"][0]["result"] == "labels/a.png"
