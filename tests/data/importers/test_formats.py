"""Every importer against the pixels and boxes that its export was made of, read back with pycocotools and Pillow."""
import contextlib
import io
import json

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from src.data.importers.pictures import Options
from src.data.importers.run import import_data
from src.data.importers.table import FORMATS
from tests.data.importers.exports import LABELS, NAMES, WRITERS, scene, truth
from tests.data.importers.forms import EVERY

OBJECTS = [name for name in EVERY if name != "ade20k"]
OWN_NAMES = {"cityscapes": ["person", "car"]}  # what a data set calls the two classes


def number_of(pixels: np.ndarray) -> int:
    """Which scene a written image shows."""
    return next(k for k in range(4) if (scene(k) == pixels).all())


@pytest.mark.parametrize("name", OBJECTS)
def test_every_object_comes_back_pixel_by_pixel(name, tmp_path):
    EVERY[name](tmp_path / "source")
    name = name.split("/")[0]
    import_data(name, tmp_path / "source", tmp_path / "out", Options(layout="coco"))
    seen = []
    for split in ("train", "val"):
        with contextlib.redirect_stdout(io.StringIO()):
            coco = COCO(tmp_path / f"out/annotations/instances_{split}.json")
        names = OWN_NAMES.get(name, NAMES)
        by_id = {key: names.index(value["name"]) + 1 for key, value in coco.cats.items() if value["name"] in names}
        assert len(by_id) == 2
        for image in coco.imgs.values():
            k = number_of(np.asarray(Image.open(tmp_path / "out" / split / image["file_name"])))
            seen.append(k)
            label = np.zeros_like(truth(k))
            for annotation in coco.imgToAnns[image["id"]]:
                mask = coco.annToMask(annotation).astype(bool)
                rows, columns = np.nonzero(mask)
                assert annotation["bbox"] == pytest.approx([columns.min(), rows.min(), np.ptp(columns) + 1,
                                                            np.ptp(rows) + 1], abs=1e-3)
                assert annotation["area"] == mask.sum()
                label[mask] = by_id[annotation["category_id"]]
            np.testing.assert_array_equal(label, truth(k))
    assert sorted(seen) == [0, 1, 2, 3]


@pytest.mark.parametrize("name", [name for name in EVERY if name != "ade20k/full"])
def test_every_label_comes_back_pixel_by_pixel(name, tmp_path):
    EVERY[name](tmp_path / "source")
    name = name.split("/")[0]
    import_data(name, tmp_path / "source", tmp_path / "out", Options(layout="voc"))
    lines = [line.split() for split in ("train", "val")
             for line in (tmp_path / f"out/voc_{split}_lst.txt").read_text().splitlines()]
    assert len(lines) == 4
    for image, label in lines:
        k = number_of(np.asarray(Image.open(tmp_path / "out" / image)))
        expected = np.array(LABELS.get(name, (0, 1, 2)))[truth(k)]
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / label)), expected)


def test_every_format_is_tried():
    assert set(WRITERS) == set(FORMATS)


@pytest.mark.parametrize("name", ["yolo", "roboflow", "lvis", "voc"])
def test_the_split_of_the_source_is_kept(name, tmp_path):
    WRITERS[name](tmp_path / "source")
    import_data(name, tmp_path / "source", tmp_path / "out", Options())
    written = json.loads((tmp_path / "out/import.json").read_text())["images"]
    assert {image["source"].split("/")[-1]: image["split"] for image in written} == {
        "s0.png": "train", "s1.png": "train", "s2.png": "train", "s3.png": "val"}
