"""`import_data.py` as users run it: labelme's shapes, photos, names, and what is refused."""
import base64
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.contract import InputError
from src.data.importers.pictures import Options
from src.data.importers.run import import_data
from src.data.instance.coco import CocoDataset
from src.data.instance.target import decode_target, mask_window
from tests.data.importers.exports import HEIGHT, WIDTH, labelme, put_json, save, scene

TOOL = Path("src/tools/import_data.py").resolve()


def run(*words, folder):
    return subprocess.run([sys.executable, TOOL, *words], cwd=folder, capture_output=True, text=True)


def test_an_import_reports_and_an_existing_folder_stays(tmp_path):
    labelme(tmp_path / "mine")
    save(tmp_path / "mine/alone.png", scene(9))
    done = run("labelme", "mine", "--to=out", "--val_share=0.25", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "3 train, 1 val images" in done.stdout
    assert "alone.png" in done.stdout
    assert "python train.py --model=mask_rcnn_r50 --coco_root=" in done.stdout
    before = sorted(tmp_path.rglob("*"))
    again = run("labelme", "mine", "--to=out", folder=tmp_path)
    assert again.returncode == 2
    assert "exists already" in again.stderr
    assert sorted(tmp_path.rglob("*")) == before


def one(tmp_path, shapes, pixels=None, **changes):
    save(tmp_path / "source/a.png", scene(0) if pixels is None else pixels)
    put_json(tmp_path / "source/a.json", {"shapes": shapes, "imagePath": "a.png", "imageHeight": HEIGHT,
                                          "imageWidth": WIDTH, **changes})


def masks(tmp_path, **options) -> tuple[list[np.ndarray], str]:
    """The masks of the only image after an import, and the report."""
    text = import_data("labelme", tmp_path / "source", tmp_path / "out", Options(val_share=0, **options))
    dataset = CocoDataset(tmp_path / "out/annotations/instances_train.json", tmp_path / "out/train")
    target = decode_target(next(iter(dataset.rows([0]))).target)
    height, width = target.size
    return [mask_window(instance["segmentation"], target.size, (0, 0, width, height)).astype(bool)
            for instance in target.instances], text


def test_labelmes_shapes(tmp_path):
    inside = np.zeros((4, 6), np.uint8)
    inside[1:, 2:5] = 255
    png = io.BytesIO()
    Image.fromarray(inside).save(png, "PNG")
    one(tmp_path, [
        {"label": "a", "points": [[2, 3], [8, 9]], "shape_type": "rectangle"},
        {"label": "a", "points": [[30, 20], [30, 30]], "shape_type": "circle"},
        {"label": "a", "points": [[10, 30], [15, 33]], "shape_type": "mask",
         "mask": base64.b64encode(png.getvalue()).decode()},
        {"label": "b", "points": [[40, 2], [44, 2], [44, 6], [40, 6]], "group_id": 1},
        {"label": "b", "points": [[50, 2], [54, 2], [54, 6], [50, 6]], "group_id": 1},
        {"label": "c", "points": [[1, 1]], "shape_type": "point"},
        {"label": "a", "points": [[50, 30], [90, 30], [90, 90], [50, 90]]},
        {"label": "a", "points": [[5, 5], [9, 9], [7, 7]]},
    ])
    found, text = masks(tmp_path)
    assert [mask.sum() for mask in found] == [36, pytest.approx(np.pi * 100, rel=0.02), 9, 32, 100]
    assert found[2][31:34, 12:15].all()
    for words in ("type point", "cut off at its border", "without an area"):
        assert words in text


@pytest.mark.parametrize(("orientation", "said", "upright"), [
    (6, (WIDTH, HEIGHT), True), (6, (HEIGHT, WIDTH), False), (3, (HEIGHT, WIDTH), True)])
def test_photos_are_written_in_the_frame_of_their_annotations(tmp_path, orientation, said, upright):
    exif = Image.Exif()
    exif[274] = orientation
    (tmp_path / "source").mkdir()
    Image.fromarray(scene(0)).save(tmp_path / "source/a.png", exif=exif)
    put_json(tmp_path / "source/a.json", {
        "shapes": [{"label": "a", "points": [[0, 0], [9, 0], [9, 5], [0, 5]]}], "imagePath": "a.png",
        "imageHeight": said[0], "imageWidth": said[1]})
    found, text = masks(tmp_path)
    assert found[0].shape == said
    assert "EXIF" in text
    turned = {6: np.rot90(scene(0), -1), 3: np.rot90(scene(0), 2)}[orientation]
    with Image.open(tmp_path / "out/train/a.png") as written:
        assert 274 not in written.getexif()
        np.testing.assert_array_equal(np.asarray(written), turned if upright else scene(0))


def test_images_inside_of_the_file_and_windows_paths(tmp_path):
    png = io.BytesIO()
    Image.fromarray(scene(5)).save(png, "PNG")
    shapes = [{"label": "a", "points": [[0, 0], [9, 0], [9, 5]]}]
    put_json(tmp_path / "source/x.json", {"shapes": shapes, "imagePath": "..\\photos\\x 1.png",
                                          "imageData": base64.b64encode(png.getvalue()).decode()})
    masks(tmp_path)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out/train/x.png")), scene(5))


def test_objects_painted_as_label_maps_with_ignored_parts(tmp_path):
    one(tmp_path, [{"label": "__ignore__", "points": [[0, 0], [60, 0], [60, 4], [0, 4]]},
                   {"label": "b", "points": [[10, 2], [20, 2], [20, 10], [10, 10]]},
                   {"label": "_background_", "points": [[10, 6], [20, 6], [20, 8], [10, 8]]}])
    import_data("labelme", tmp_path / "source", tmp_path / "out", Options(layout="voc", val_share=0))
    label = np.asarray(Image.open(tmp_path / "out/SegmentationClassGray/a.png"))
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[:4] = 255
    expected[2:10, 10:20] = 1
    expected[6:8, 10:20] = 0
    np.testing.assert_array_equal(label, expected)
    assert (tmp_path / "out/labels.txt").read_text().split() == ["0", "background", "1", "b", "255", "ignore"]


def test_files_of_one_name_in_several_folders_stay_apart(tmp_path):
    for k, folder in enumerate(("day 1", "day 2")):
        one(tmp_path / folder, [{"label": "a", "points": [[0, 0], [9, 0], [9, 5 + k]]}], scene(k))
    import_data("labelme", tmp_path, tmp_path.with_name(f"{tmp_path.name}-out"), Options(val_share=0))
    out = tmp_path.with_name(f"{tmp_path.name}-out")
    assert sorted(path.name for path in (out / "train").iterdir()) == ["day_1_source_a.png", "day_2_source_a.png"]


@pytest.mark.parametrize(("shapes", "changes", "words"), [
    ([], {"imageHeight": 41}, ("a.json: says 60x41", "60x40", "--on_bad=skip")),
    ([], {"imagePath": "b.png"}, ("a.json: b.png: no such image",)),
    ([{"label": "a", "points": [[0, 0], [1, "x"]]}], {}, ("a.json: shapes.0.points.1.1",)),
    ([{"label": "", "points": [[0, 0], [9, 0], [9, 5]]}], {}, ("a.json: shapes.0: '' cannot name a class",)),
    ([{"label": "a", "points": [[0, 0]], "shape_type": "ellipse"}], {}, ("shapes.0: shape_type 'ellipse'",)),
    ([{"label": "a", "points": [[1, 1]], "shape_type": "point"}], {}, ("no object to import", "type point"))])
def test_what_is_wrong_is_named(tmp_path, shapes, changes, words):
    one(tmp_path, shapes, **changes)
    with pytest.raises(InputError) as raised:
        import_data("labelme", tmp_path / "source", tmp_path / "out", Options())
    assert [word for word in words if word not in str(raised.value)] == []
    assert not (tmp_path / "out").exists()


def test_bad_files_are_left_out_where_the_user_says_so(tmp_path):
    labelme(tmp_path / "source")
    (tmp_path / "source/s1.png").write_bytes((tmp_path / "source/s1.png").read_bytes()[:60])
    (tmp_path / "source/s2.json").write_text('{"shapes": [')
    with pytest.raises(InputError, match=r"(?s)2 bad entries.*s2.json:1:13: not JSON.*s1.png: is a damaged"):
        import_data("labelme", tmp_path / "source", tmp_path / "out", Options())
    text = import_data("labelme", tmp_path / "source", tmp_path / "out", Options(on_bad="skip"))
    assert "left out: 2 bad entries" in text
    assert len(json.loads((tmp_path / "out/import.json").read_text())["left_out"]) == 2


def test_the_wrong_source_and_flags(tmp_path):
    (tmp_path / "source").mkdir()
    with pytest.raises(InputError, match="no image to import: labelme reads images with a JSON file"):
        import_data("labelme", tmp_path / "source", tmp_path / "out", Options())
    with pytest.raises(InputError, match="no such folder"):
        import_data("labelme", tmp_path / "nothing", tmp_path / "out", Options())
    with pytest.raises(InputError, match="inside the source"):
        import_data("labelme", tmp_path / "source", tmp_path / "source/out", Options())
