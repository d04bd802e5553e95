"""No image, near duplicate, video or group is in train and val."""
import json

import cv2
import numpy as np
import pytest

from src.contract import InputError
from src.data.importers.pictures import Options
from src.data.importers.run import import_data
from tests.data.importers.exports import HEIGHT, WIDTH, coco_content, labelme, put_json, roboflow, save, scene


def annotate(root, name, pixels):
    save(root / f"{name}.png", pixels)
    shape = {"label": "cat", "points": [[5, 5], [20, 5], [20, 20]], "shape_type": "polygon"}
    put_json(root / f"{name}.json", {"shapes": [shape], "imagePath": f"{name}.png", "imageHeight": HEIGHT,
                                     "imageWidth": WIDTH})


def splits(root, **options) -> dict[str, str]:
    """{name in the source: split} of an import."""
    import_data("labelme", root / "source", root / "out", Options(**options))
    return {image["source"].removesuffix(".png"): image["split"]
            for image in json.loads((root / "out/import.json").read_text())["images"]}


@pytest.mark.parametrize("seed", range(3))
def test_near_duplicates_stay_together(tmp_path, seed):
    for k in range(4):
        annotate(tmp_path / "source", f"{'abcd'[k]}-one", scene(k))
        noise = np.random.default_rng(k).integers(-3, 4, scene(k).shape)
        annotate(tmp_path / "source", f"{'wxyz'[k]}-two", np.clip(scene(k) + noise, 0, 255).astype(np.uint8))
    found = splits(tmp_path, val_share=0.3, seed=seed)
    assert set(found.values()) == {"train", "val"}
    assert [found[f"{'abcd'[k]}-one"] for k in range(4)] == [found[f"{'wxyz'[k]}-two"] for k in range(4)]


def test_images_with_few_objects_on_a_plain_ground_are_not_duplicates(tmp_path):
    for k in range(6):
        pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        pixels[3 + 5 * k:8 + 5 * k, 4 + 8 * k:10 + 8 * k] = 200
        annotate(tmp_path / "source", "abcdef"[k], pixels)
    assert sorted(splits(tmp_path, val_share=0.5).values()) == ["train"] * 3 + ["val"] * 3


def test_frames_of_a_video_stay_together_and_one_video_alone_is_refused(tmp_path):
    for video in range(3):
        for frame in range(5):
            smooth = cv2.GaussianBlur(scene(video), (0, 0), 4)
            annotate(tmp_path / "source", f"v{video}_{frame:04d}", np.roll(smooth, frame, 1))
    found = splits(tmp_path, val_share=0.3)
    by_video = [{split for name, split in found.items() if name.startswith(f"v{k}")} for k in range(3)]
    assert all(len(one) == 1 for one in by_video)
    assert sorted(map(min, by_video)) == ["train", "train", "val"]
    for path in (tmp_path / "source").glob("v[12]*"):
        path.unlink()
    with pytest.raises(InputError, match="--val_share=0.*--near_duplicates=ignore"):
        import_data("labelme", tmp_path / "source", tmp_path / "other", Options())
    import_data("labelme", tmp_path / "source", tmp_path / "other", Options(near_duplicates="ignore"))


def test_groups_by_a_part_of_the_name(tmp_path):
    for k in range(8):
        annotate(tmp_path / "source", f"patient{k // 2}_{'ab'[k % 2]}", scene(k))
    found = splits(tmp_path, val_share=0.25, group_by="(patient[0-9]+)_")
    assert sorted(found.values()) == ["train"] * 6 + ["val"] * 2
    assert all(found[f"patient{k}_a"] == found[f"patient{k}_b"] for k in range(4))
    with pytest.raises(InputError, match="in no image's name, for example 'patient0_a.png'"):
        import_data("labelme", tmp_path / "source", tmp_path / "other", Options(group_by="nobody"))
    with pytest.raises(InputError, match="not a regular expression"):
        import_data("labelme", tmp_path / "source", tmp_path / "other", Options(group_by="("))


def test_what_val_has_leaves_train_of_the_sources_own_split(tmp_path):
    roboflow(tmp_path / "source")
    save(tmp_path / "source/valid/s3.png", scene(1))
    text = import_data("roboflow", tmp_path / "source", tmp_path / "out", Options())
    assert "1 images of train were left out" in text
    assert "train/s1.png" in text
    assert [len(list((tmp_path / "out" / split).iterdir())) for split in ("train", "val")] == [2, 1]


def test_a_split_of_the_same_images_is_made_anew(tmp_path):
    for split in ("train", "valid"):
        for k in range(2):
            save(tmp_path / f"source/{split}/s{k}.png", scene(k))
        put_json(tmp_path / f"source/{split}/_annotations.coco.json", coco_content(range(2)))
    import_data("roboflow", tmp_path / "source", tmp_path / "out", Options())
    train, val = ({path.read_bytes() for path in (tmp_path / "out" / split).iterdir()} for split in ("train", "val"))
    assert train
    assert val
    assert not train & val


def test_the_split_is_the_same_each_time(tmp_path):
    labelme(tmp_path / "source")
    first = splits(tmp_path, seed=7)
    (tmp_path / "out").rename(tmp_path / "before")
    assert splits(tmp_path, seed=7) == first


@pytest.mark.parametrize("seed", range(3))
def test_mirrored_copies_stay_together(tmp_path, seed):
    for k in range(4):
        annotate(tmp_path / "source", f"{'abcd'[k]}-one", scene(k))
        annotate(tmp_path / "source", f"{'wxyz'[k]}-two", scene(k)[:, ::-1])
    found = splits(tmp_path, val_share=0.3, seed=seed)
    assert set(found.values()) == {"train", "val"}
    assert [found[f"{'abcd'[k]}-one"] for k in range(4)] == [found[f"{'wxyz'[k]}-two"] for k in range(4)]


def test_roboflows_versions_of_an_image_stay_together(tmp_path):
    for k in range(12):
        annotate(tmp_path / "source", f"IMG_{k // 3}_jpg.rf.{k:032x}", scene(k))
    found = splits(tmp_path, val_share=0.25)
    by_image = [{split for name, split in found.items() if name.startswith(f"IMG_{k}_")} for k in range(4)]
    assert sorted(map(min, by_image)) == ["train"] * 3 + ["val"]
    assert all(len(one) == 1 for one in by_image)


def test_frames_far_apart_in_numbers_stay_together(tmp_path):
    """Two videos of which every hundredth frame was kept."""
    for video in range(2):
        smooth = cv2.GaussianBlur(scene(video), (0, 0), 4)
        for frame in range(5):
            annotate(tmp_path / "source", f"v{video}_{100 * frame:05d}", np.roll(smooth, frame, 1))
    found = splits(tmp_path, val_share=0.3)
    assert {len({split for name, split in found.items() if name.startswith(f"v{k}")}) for k in range(2)} == {1}
