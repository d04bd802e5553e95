"""Labels as people have them: masks of 0 and 255, other numberings, indices in several channels, rare classes."""
import logging

import numpy as np
import pytest
from PIL import Image

from src import tasks
from src.config import build
from src.contract import InputError
from src.data.decode import decode_label
from src.data.semantic import label_counts
from src.data.semantic.label_map import MappedLabels, read_label_map
from src.data.semantic.voc import ListDataset
from src.deeplabv3.splits import open_split
from src.results.score import score_list
from tests.data.test_decode import saved
from tests.tiny_seg import Memory, image, jpeg, png, record, write_data

OBJECT = np.zeros((12, 16), np.uint8)
OBJECT[3:9, 4:12] = 1


def write(root, labels) -> str:
    """A list of images with these label files."""
    path = write_data(root, len(labels))
    for n, data in enumerate(labels):
        (root / f"labels/{n}.png").write_bytes(data if isinstance(data, bytes) else png(data))
    return str(path)


def opened(root, split="train", **settings):
    config = build(tasks.config_class("deeplab_v3_s16"), {
        "data_root": str(root), "data_lst": str(root / "list.txt"), "num_classes": 2} | settings)
    return open_split(config, split)


def labels_of(dataset) -> list[list[int]]:
    return [np.unique(decode_label(row.target)).tolist() for row in dataset.rows(range(len(dataset)))]


@pytest.mark.parametrize("split", ["train", "val"])
def test_masks_of_0_and_255_are_refused(tmp_path, split):
    write(tmp_path, [OBJECT * 255] * 3)
    with pytest.raises(InputError, match=r"all pixels of 3 labels are 0 .class_0. or 255 .25.0 %.*--label_map=255:1"):
        opened(tmp_path, split)
    assert labels_of(opened(tmp_path, split, label_map="255:1")) == [[0, 1]] * 3
    assert labels_of(opened(tmp_path, split, allow_single_class=True)) == [[0, 255]] * 3


def test_labels_without_any_class_are_refused_whatever_is_allowed(tmp_path):
    write(tmp_path, [np.full((12, 16), 255, np.uint8)])
    with pytest.raises(InputError, match="every pixel of 1 labels is 255, which is ignored"):
        opened(tmp_path, allow_single_class=True)


def test_one_class_with_few_ignored_pixels_is_taken(tmp_path, caplog):
    label = np.zeros((12, 16), np.uint8)
    label[0, :3] = 255
    write(tmp_path, [label])
    with caplog.at_level(logging.INFO):
        opened(tmp_path)
    assert "class_0 98.44 %; ignored (255) 1.56 %; classes without a pixel: class_1" in caplog.text
    assert "no pixel of class_1; evaluation leaves classes without a pixel out of the mean" in caplog.text


def test_a_sample_with_one_class_makes_all_labels_count():
    rows = [record(n, target=png(OBJECT * (1 if n == 7 else 255))) for n in range(10)]
    counts = label_counts.count_labels(Memory(rows), num_classes=2, ignore_label=255, workers=2, sample=3)
    assert (counts.labels, counts.total, counts.pixels) == (10, 10, {0: 1440, 1: 48, 255: 432})
    rows[0] = rows[7]
    counts = label_counts.count_labels(Memory(rows), num_classes=2, ignore_label=255, workers=2, sample=3)
    assert (counts.labels, counts.total) == (3, 10)
    line = label_counts.describe(counts, "data", ["ground", "cat"], 255)
    assert "a sample of 3 of 10 labels: ground 75.00 %, cat 8.33 %; ignored (255) 16.67 %" in line


def test_counts_of_a_build_are_used_without_reading():
    class Built(Memory):
        manifest = type("Manifest", (), {"histogram": {0: 5, 2: 7}})()

    counts = label_counts.count_labels(Built([]), num_classes=3, ignore_label=255, workers=1)
    assert counts.pixels == {0: 5, 2: 7}


def test_label_ids_taken_for_train_ids_are_named_with_the_way_out(tmp_path):
    write(tmp_path, [np.array([[0, 7, 11, 26, 33]], np.uint8).repeat(3, 0)])
    (tmp_path / "images/0.jpg").write_bytes(jpeg(image(0, 3, 5)))
    with pytest.raises(InputError, match=r"list.txt:1: .*26, 33, but classes are 0..18.*--label_map=cityscapes"):
        opened(tmp_path, num_classes=19)
    assert labels_of(opened(tmp_path, num_classes=19, label_map="cityscapes")) == [[0, 2, 13, 18, 255]]


@pytest.mark.parametrize(("text", "given", "expected"), [
    ("cityscapes", [0, 7, 11, 26, 33, 34, 255], [255, 0, 2, 13, 18, 255, 255]),
    ("reduce_zero_label", [0, 1, 150, 255], [255, 0, 149, 255]),
    ("Cityscapes", [7, 8], [0, 1]), ("255:1", [0, 1, 255], [0, 1, 1]),
    ("0:0, 128:1, *:255", [0, 1, 128, 200], [0, 255, 1, 255])])
def test_a_map_by_name_and_by_pairs(text, given, expected):
    assert read_label_map(text)[given].tolist() == expected


@pytest.mark.parametrize("text", ["# ids\n7: 0\n\n11:1\n*:255\n", "7 0\n11\t1\n* 255\n", "7,0\r\n11,1\r\n*,255"])
def test_a_map_from_a_file(tmp_path, text):
    (tmp_path / "map.txt").write_text(text)
    assert read_label_map(str(tmp_path / "map.txt"))[[7, 11, 0]].tolist() == [0, 1, 255]


@pytest.mark.parametrize(("text", "words"), [
    ("cityscape", "'cityscape' is no pair VALUE:INDEX.*cityscapes, reduce_zero_label"), ("1:300", "'1:300' is no pair"),
    ("1:2,1:3", "value 1 becomes both 2 and 3"), ("-1:0", "'-1:0' is no pair")])
def test_what_is_no_map(text, words):
    with pytest.raises(InputError, match=words):
        read_label_map(text)


def test_a_map_belongs_to_lists(tmp_path):
    with pytest.raises(InputError, match="--label_map=255:1: .*src/tools/build_seg_data"):
        opened(tmp_path, data_file="x", data_lst="", label_map="255:1")


def test_zero_may_be_the_ignored_value(tmp_path):
    write(tmp_path, [np.arange(192, dtype=np.uint8).reshape(12, 16) % 4])
    assert labels_of(opened(tmp_path, ignore_label=0, num_classes=4)) == [[0, 1, 2, 3]]
    assert labels_of(opened(tmp_path, label_map="reduce_zero_label", num_classes=3)) == [[0, 1, 2, 255]]
    with pytest.raises(InputError, match="values 3, .*--num_classes=4 beside --ignore_label=0.*reduce_zero_label"):
        opened(tmp_path, ignore_label=0, num_classes=3)


@pytest.mark.parametrize(("picture", "kind"), [
    (Image.fromarray(np.stack([OBJECT] * 3, -1)), "PNG"),
    (Image.fromarray(np.dstack([OBJECT] * 3 + [np.full_like(OBJECT, 255)])), "PNG"),
    (Image.fromarray(np.dstack([OBJECT, np.full_like(OBJECT, 255)]), "LA"), "PNG"),
    (Image.fromarray(OBJECT), "BMP"), (Image.fromarray(OBJECT, "P"), "BMP"),
    (Image.fromarray(np.stack([OBJECT] * 3, -1)), "BMP"), (Image.fromarray(OBJECT.astype(bool)), "BMP")])
def test_indices_in_several_channels_and_in_bmp(picture, kind):
    if picture.mode == "P":
        picture.putpalette([0, 0, 0, 200, 30, 40])
    assert decode_label(saved(picture, kind)).tolist() == OBJECT.tolist()


@pytest.mark.parametrize("colours", [[0, 0, 0, 255, 255, 255], [255, 255, 255, 0, 0, 0], [9, 9, 9, 0, 0, 0] * 128, []])
@pytest.mark.parametrize("bits", [1, 4, 8])
def test_the_palette_of_a_bmp_says_nothing_about_its_indices(colours, bits):
    """Pillow takes 8 bits a pixel for one where the palette is black and white alone."""
    palette = b"".join(bytes([*reversed(colours[k:k + 3]), 0]) for k in range(0, 3 * 2 ** bits, 3) if colours[k:k + 3])
    rows = [bytes(row) for row in np.packbits(np.unpackbits(OBJECT[::-1, :, None], axis=2)[..., -bits:].reshape(12, -1),
                                              axis=1)]
    start = 54 + len(palette)
    words = (40, 16, 12, 1 | bits << 16, 0, 0, 0, 0, len(palette) // 4, 0)
    data = b"BM" + b"".join(v.to_bytes(4, "little") for v in (start + 12 * len(rows[0]), 0, start, *words)) + palette
    data += b"".join(row + bytes(-len(row) % 4) for row in rows)
    assert decode_label(data).tolist() == OBJECT.tolist()


def test_a_mask_of_0_and_another_value_is_refused_with_its_map(tmp_path):
    write(tmp_path, [OBJECT * 254] * 2)
    with pytest.raises(InputError, match="a mask whose object is 254, give --label_map=254:1"):
        opened(tmp_path)
    assert labels_of(opened(tmp_path, label_map="254:1")) == [[0, 1]] * 2


@pytest.mark.parametrize(("array", "words"), [
    (np.dstack([OBJECT] * 3 + [OBJECT * 255]), "RGBA PNG with transparent pixels"),
    (np.dstack([OBJECT, OBJECT, OBJECT * 0]), "RGB PNG of colours")])
def test_channels_that_hold_no_index(array, words):
    with pytest.raises(InputError, match=words):
        decode_label(saved(Image.fromarray(array), "PNG"))


def test_a_mapped_label_keeps_its_place_and_names_what_is_wrong(tmp_path):
    write(tmp_path, [OBJECT, b"text"])
    dataset = MappedLabels(ListDataset(tmp_path, tmp_path / "list.txt"), read_label_map("1:5"))
    first = next(iter(dataset.rows([0])))
    assert (first.place, first.image_id, np.unique(decode_label(first.target)).tolist()) == (
        f"{tmp_path}/list.txt:1", 1, [0, 5])
    with pytest.raises(InputError, match=r"list.txt:2: images/1.jpg: .*is not an image"):
        next(iter(dataset.rows([1])))


def test_scoring_offline_results_refuses_masks_of_0_and_255_too(tmp_path):
    write(tmp_path, [OBJECT * 255] * 2)
    (tmp_path / "results").mkdir()
    (tmp_path / "results/0_0.bin").write_bytes(np.zeros((1, 2, 16, 16), np.float32).tobytes())
    flags = {"num_classes": 2, "crop_size": 16}
    with pytest.raises(InputError, match="all pixels of 2 labels are 0 .class_0. or 255"):
        score_list(str(tmp_path / "results"), str(tmp_path), str(tmp_path / "list.txt"), **flags)
    numbers = score_list(str(tmp_path / "results"), str(tmp_path), str(tmp_path / "list.txt"), label_map="255:1",
                         **flags).numbers
    assert numbers["iou"] == {"class_0": 0.75, "class_1": 0.0}


@pytest.mark.parametrize("line", [
    "images/IMG (0).jpg labels/IMG (0).png", '"images/IMG (0).jpg" "labels/IMG (0).png"',
    "images/IMG (0).jpg\tlabels/IMG (0).png", '"images/IMG (0).jpg"   labels/0.png', 'images/a"b.jpg labels/0.png',
    '"images/a""b.jpg" labels/0.png', r'"images/a\"b.jpg" labels/0.png'])
def test_names_with_blanks_and_quotes_in_lists(tmp_path, line):
    write(tmp_path, [OBJECT])
    for copy in ("images/IMG (0).jpg", 'images/a"b.jpg', "labels/IMG (0).png"):
        source = "images/0.jpg" if copy.startswith("images") else "labels/0.png"
        (tmp_path / copy).write_bytes((tmp_path / source).read_bytes())
    (tmp_path / "list.txt").write_text(line + "\n")
    row = next(iter(ListDataset(tmp_path, tmp_path / "list.txt").rows([0])))
    assert row.file_name == ('images/a"b.jpg' if "a" in line.split("/")[1][:2] else "images/IMG (0).jpg")
    assert decode_label(row.target).tolist() == OBJECT.tolist()


@pytest.mark.parametrize(("written", "words"), [
    ("images/0.JPG", r"0.jpg does \(capitals matter here\)"), ("images\\0.jpg", r"images/0.jpg does \(with / in place"),
    ("images/x.jpg", "relative paths start from --data_root"), ("data/images/0.jpg", "images/0.jpg does; correct")])
def test_the_near_match_of_a_missing_image_is_named(tmp_path, written, words):
    write(tmp_path, [OBJECT])
    (tmp_path / "list.txt").write_text(f"{written} labels/0.png\n")
    with pytest.raises(InputError, match=f"list.txt:1: image .* does not exist; .*{words}"):
        ListDataset(tmp_path, tmp_path / "list.txt")


@pytest.mark.parametrize("data", [jpeg(np.zeros((16, 16, 3), np.uint8)), png(np.full((16, 16), 65535, np.uint16))])
def test_labels_that_no_list_takes_name_the_label_and_a_tool_that_does(tmp_path, data):
    write(tmp_path, [OBJECT])
    (tmp_path / "labels/0.png").write_bytes(data)
    with pytest.raises(InputError, match=r"list.txt:1: images/0.jpg: label is a .*src/tools/import_data.py masks"):
        opened(tmp_path)
