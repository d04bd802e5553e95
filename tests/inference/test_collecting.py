"""Images and videos of a command line: kinds, names of results, ids, and what cannot be read is named."""
import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.contract import InputError
from src.data.decode import decode_image
from src.inference.arguments import parse
from src.inference.coco_ids import CocoIds
from src.inference.collecting import Input, collect, read_list, warn_of_dark_inputs
from src.inference.reading import read_image
from src.results.files import result_names
from tests.tiny_coco import write_coco
from tests.tiny_seg import image, jpeg, png

# 24 x 16 pixels, the left half red, the right half blue; written with pillow-heif 1.8.1.
HEIC = base64.b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAXxtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAA"
    "ACJpbG9jAAAAAERAAAEAAQAAAAABoAABAAAAAAAAAEgAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRt"
    "AAAAAAABAAAA/GlwcnAAAADcaXBjbwAAAHVodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMA"
    "AAMAHroCQGEAAQApQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbqrprm4CGgwIAAAAyAAAADAIRiAAEABkQBwXPBiQAAABNjb2xybmNs"
    "eAABAA0ABoAAAAAUaXNwZQAAAAAAAABAAAAAQAAAAChjbGFwAAAAGAAAAAEAAAAQAAAAAf///9gAAAAC////0AAAAAIAAAAQcGl4"
    "aQAAAAADCAgIAAAAGGlwbWEAAAAAAAAAAQABBYECAwWEAAAAUG1kYXQAAABEKAGvCchphxojm1H/Obf6haGzatF5I3rtOd5/iAv9"
    "7F0zkjQJA+7XxDQjvKaHjJ3zc08Rb99zqepQF8nm8UDjkiVUVPg=")


def two_colours(kind: str) -> bytes:
    if kind == "HEIC":
        return HEIC
    pixels = np.zeros((16, 24, 3), np.uint8)
    pixels[:, :12], pixels[:, 12:] = (200, 30, 30), (30, 60, 200)
    file = io.BytesIO()
    second = {"save_all": True, "append_images": [Image.new("RGB", (24, 16))]} if kind == "GIF" else {}
    Image.fromarray(pixels).save(file, kind, **second)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["HEIC", "AVIF", "GIF"])
def test_pictures_of_phones_and_the_web_are_read(kind, tmp_path):
    path = tmp_path / "IMG_0001"
    path.write_bytes(two_colours(kind))
    pixels = decode_image(read_image(path))
    assert pixels.shape == (16, 24, 3)
    np.testing.assert_allclose(pixels[8, 3], (200, 30, 30), atol=6)
    np.testing.assert_allclose(pixels[8, 20], (30, 60, 200), atol=6)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(InputError, match=f"is a damaged {kind} file"):
        read_image(path)


def test_every_picture_of_a_folder_is_read_or_named(tmp_path):
    good = {"a.HEIC": HEIC, "b.gif": two_colours("GIF"), "c.avif": two_colours("AVIF"), "d.jpg": jpeg(image(1)),
            "e.JPE": jpeg(image(1)), "no_suffix": jpeg(image(1))}
    bad = {"x.CR2": b"II*\0raw", "y.svg": b"<svg/>", "z.heic": HEIC[:90]}
    other = {"a.AAE": b"<xml>", "notes.txt": b"text", "data": b"text"}
    for name, data in (good | bad | other).items():
        (tmp_path / name).write_bytes(data)
    inputs = collect([str(tmp_path)])
    assert [one.file_name for one in inputs.images] == sorted(good)
    assert {one.file_name: reason.split(";")[0] for one, reason in inputs.bad} == {
        "x.CR2": "is a CR2 file, which is not read", "y.svg": "is a SVG file, which is not read",
        "z.heic": "is a damaged HEIC file (90 bytes)"}


@pytest.mark.parametrize(("file_names", "names"), [
    (["a.jpg", "b.jpg"], ["a", "b"]),
    (["IMG_1.JPG", "IMG_1.MOV", "IMG_2.JPG"], ["IMG_1.JPG", "IMG_1.MOV", "IMG_2"]),
    (["s/a.png", "s__a.png"], ["s__a.png", "s__a.png_2"]),
    (["a.jpg", "a.png", "a.jpg.png"], ["a.jpg", "a.png", "a.jpg_2"]),
    (["/x/a.jpg", "c.d.jpg"], ["x__a", "c.d"])])
def test_result_names_are_all_different(file_names, names):
    assert result_names(file_names) == names


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(jpeg(image(0)))


def test_inputs_of_one_name_are_called_by_their_paths_and_each_is_taken_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "a/1.jpg", "b/1.jpg", "b/2.jpg")
    inputs = collect(["a", "b", "b/2.jpg", "./a/1.jpg"])
    assert [(one.file_name, one.name) for one in inputs.images] == [
        ("a/1.jpg", "a__1"), ("b/1.jpg", "b__1"), ("2.jpg", "2")]


def test_an_image_called_as_a_frame_of_a_video_stays(tmp_path):
    write(tmp_path, "clip_000001.jpg", "clip.mp4")
    inputs = collect([str(tmp_path)])
    assert [one.name for one in inputs.images + inputs.videos] == ["clip_000001", "clip_frames"]


def test_a_video_without_a_readable_frame_is_named(tmp_path):
    write(tmp_path, "a.jpg")
    (tmp_path / "a.mov").write_bytes(b"\0\0\0\x14ftypqt  " + bytes(50))
    inputs = collect([str(tmp_path)])
    assert [one.name for one in inputs.images] == ["a.jpg"]
    (video, reason), = inputs.bad
    assert video.file_name == "a.mov"
    assert reason.startswith("no frame of it can be read")


def test_a_list_names_images_from_the_folder_of_the_data_and_their_ids(tmp_path):
    write(tmp_path, "set/x/a b.jpg", "set/c.jpg", 'set/q"d.jpg')
    (tmp_path / "list.txt").write_bytes(
        b'\xef\xbb\xbf"x/a b.jpg" 7\n\nc.jpg labels/12.png\r\n"q\\"d.jpg" -3\n')
    assert read_list(str(tmp_path / "list.txt")) == [("x/a b.jpg", 7), ("c.jpg", None), ('q"d.jpg', -3)]
    inputs = collect([], dataset_path=str(tmp_path / "set"), image_list=str(tmp_path / "list.txt"))
    assert [(one.file_name, one.image_id) for one in inputs.images] == [
        ("x/a b.jpg", 7), ("c.jpg", None), ('q"d.jpg', -3)]
    assert inputs.listed_ids() == {"x/a b.jpg": 7, 'q"d.jpg': -3}
    named = collect([str(tmp_path / "set/x")], dataset_path=str(tmp_path / "set"))
    assert [one.file_name for one in named.images] == ["x/a b.jpg"]


def test_ids_come_from_annotations_by_the_end_of_the_path(tmp_path):
    ids = CocoIds(str(write_coco(tmp_path)))
    inputs = [Input("1.jpg", tmp_path / "val/1.jpg"), Input("x", tmp_path / "9.jpg")]
    assert ids.images(inputs) == {"1.jpg": 10}
    with pytest.raises(InputError, match="both are image 10 of"):
        ids.images([*inputs, Input("y/1.jpg", tmp_path / "y/1.jpg")])
    # dog is 3, cat 7, fish 12 in the file; what the file calls otherwise gets a number that nobody uses
    assert ids.categories(["background", "cat", "dog", "cow", "hen"], [0, 1, 2, 3, 4]) == [0, 7, 3, 13, 4]


def test_ids_of_images_in_folders_are_those_of_the_longest_end(tmp_path):
    content = {"images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "night/a.jpg"}],
               "annotations": [], "categories": [{"id": 1, "name": "dog"}]}
    (tmp_path / "a.json").write_text(json.dumps(content))
    ids = CocoIds(str(tmp_path / "a.json"))
    assert ids.images([Input("d", tmp_path / "day/a.jpg"), Input("n", tmp_path / "night/a.jpg")]) == {"d": 1, "n": 2}


@pytest.mark.parametrize("flag", ["--score_threshold", "--least_score"])
def test_the_flags(flag, tmp_path):
    (tmp_path / "m.onnx").write_text("")
    args = parse([f"--model_path={tmp_path / 'm.onnx'}", f"{flag}=0.25", "a.jpg"], description="")
    assert args.score_threshold == 0.25


def test_12_bits_in_16_are_warned_of_before_they_are_predicted(tmp_path, caplog):
    pixels = np.full((40, 60), 4095, np.uint16)
    pixels[3, 3] = 65535  # a broken pixel
    (tmp_path / "a.png").write_bytes(png(pixels))
    images = collect([str(tmp_path)]).images
    warn_of_dark_inputs(images, 16)
    assert "are 4095..4095 in the 1 that were looked at, and come out nearly black: scale them to 16" in caplog.text
    caplog.clear()
    warn_of_dark_inputs(images, 12)
    warn_of_dark_inputs([], 16)
    assert not caplog.records
