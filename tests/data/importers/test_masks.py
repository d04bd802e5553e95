"""Binary masks: the kinds of files that programs write, and what only looks like one."""
import numpy as np
import pytest
from PIL import Image

from src.contract import InputError
from src.data.importers.pictures import Options
from src.data.importers.run import import_data
from tests.data.importers.exports import HEIGHT, WIDTH, save, scene

OBJECT = np.zeros((HEIGHT, WIDTH), np.uint8)
OBJECT[8:24, 8:40] = 1
AT_THE_EDGE = np.uint8(255) * (np.indices(OBJECT.shape)[1] > 50)


def run(name, root) -> str:
    return import_data(name, root / "source", root / "out", Options(val_share=0))


def written_mask(root, mask, name="a.png", **options) -> np.ndarray:
    """The label that a source of one image and this mask becomes."""
    save(root / "source/images/a.png", scene(0))
    (root / "source/masks").mkdir(parents=True)
    mask.save(root / "source/masks" / name, **options)
    run("masks", root)
    return np.asarray(Image.open(root / "out/SegmentationClassGray/a.png"))


def painted(colours) -> Image.Image:
    image = Image.fromarray(OBJECT, "P")
    image.putpalette(colours)
    return image


@pytest.mark.parametrize("mask", [
    Image.fromarray(np.dstack([0 * OBJECT] * 3 + [255 * OBJECT])),
    Image.fromarray(np.dstack([0 * OBJECT + 255, 255 * OBJECT]), "LA"),
    Image.fromarray(np.dstack([255 * OBJECT] * 3 + [0 * OBJECT + 255])),
    Image.fromarray(OBJECT.astype(np.uint16) * 65535), painted([0, 0, 0, 128, 0, 0])],
    ids=["alpha", "gray and alpha", "opaque", "16 bits", "palette"])
def test_binary_masks_of_many_modes(tmp_path, mask):
    np.testing.assert_array_equal(written_mask(tmp_path, mask), OBJECT)


@pytest.mark.parametrize("name", ["a.gif", "a_mask.png", "a-seg.png", "mask_a.png", "a.png.png", "a_gt.png"])
def test_names_of_masks(tmp_path, name):
    save(tmp_path / "source/images/b.png", scene(1))
    np.testing.assert_array_equal(written_mask(tmp_path, Image.fromarray(255 * OBJECT), name), OBJECT)


def test_a_mask_without_an_image_is_named(tmp_path):
    save(tmp_path / "source/images/b.png", scene(1))
    with pytest.raises(InputError, match="b2.png: no image of that name in .*images; call both alike"):
        written_mask(tmp_path, Image.fromarray(255 * OBJECT), "b2.png")


def test_capitals_of_folders_do_not_matter(tmp_path):
    save(tmp_path / "source/Images/a.png", scene(0))
    save(tmp_path / "source/Masks/a.png", 255 * OBJECT)
    run("masks", tmp_path)
    assert np.count_nonzero(np.asarray(Image.open(tmp_path / "out/SegmentationClassGray/a.png"))) == 512


@pytest.mark.parametrize(("mask", "words"), [
    (painted([0, 0, 0, 128, 0, 0, 0, 128, 0]), "has 3 colours, which are several classes"),
    (painted([255, 255, 255, 255, 0, 0, 255, 255, 255]), "has no black background"),
    (Image.fromarray(OBJECT | AT_THE_EDGE), "indices of several classes")])
def test_what_is_no_binary_mask(tmp_path, mask, words):
    if mask.mode == "P":
        mask.putpixel((0, 0), 2)
    with pytest.raises(InputError, match=words):
        written_mask(tmp_path, mask)


def test_masks_of_several_classes_of_which_each_image_has_one_are_refused(tmp_path):
    for k in range(4):
        save(tmp_path / f"source/images/{k}.png", scene(k))
        save(tmp_path / f"source/masks/{k}.png", (k % 2 + 1) * OBJECT)
    with pytest.raises(InputError, match="1.png: its object has another value or colour than that of .*0.png"):
        run("masks", tmp_path)
