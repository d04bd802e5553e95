"""Further forms of formats that have several: the scenes of exports.py in each of them."""
import itertools
import json
from pathlib import Path

import numpy as np

from tests.data.importers.exports import (
    HEIGHT,
    NAMES,
    WIDTH,
    WRITERS,
    ade20k,
    cityscapes,
    instances,
    mask_of,
    objects,
    put_json,
    save,
    scene,
    truth,
)


def cityscapes_polygons(root: Path) -> None:
    """As cityscapes(), by corners that lie in the last pixels; deleted and covered polygons show nothing."""
    cityscapes(root)
    for path in root.glob("gtFine/t*/*/*.png"):
        path.unlink()
    for path in sorted(root.glob("gtFine/[tv]*/aachen")):
        path.mkdir(exist_ok=True)
    for k in range(4):
        split = "train" if k < 3 else "val"
        frame = [[0, 0], [WIDTH - 1, 0], [WIDTH - 1, HEIGHT - 1], [0, HEIGHT - 1]]
        shapes = [{"label": "sky", "polygon": frame}, {"label": "road", "polygon": frame},
                  {"label": "person", "polygon": frame, "deleted": 1}, {"label": "license plate", "polygon": frame}]
        for name, ((x1, y1), _, (x2, y2), _) in objects(k):
            shapes.append({"label": {"cat": "person", "dog": "car"}[name],
                           "polygon": [[x1, y1], [x2 - 1, y1], [x2 - 1, y2 - 1], [x1, y2 - 1]]})
        put_json(root / f"gtFine/{split}/aachen/aachen_00000{k}_000019_gtFine_polygons.json",
                 {"imgHeight": HEIGHT, "imgWidth": WIDTH, "objects": shapes})
    for path in root.glob("gtFine/val/aachen/*.png"):
        path.unlink()


def _rows_of_runs(mask: np.ndarray) -> str:
    """CVAT's run lengths along the rows, background first."""
    flat = np.concatenate([[False], mask.ravel(), [not mask.ravel()[-1]]])
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    return ", ".join(map(str, np.diff(edges, prepend=0)))


def _cvat_shape(kind: str, name: str, outline, order: int) -> str:
    """A shape of the same pixels as polygon, box or mask; polygons are two halves of one group."""
    (x1, y1), _, (x2, y2), _ = outline
    middle = (x1 + x2) // 2
    common = f'label="{name}" source="manual" occluded="0" z_order="{order}"'
    if kind == "box":
        return f'<box {common} xtl="{x1}.0" ytl="{y1}" xbr="{x2}" ybr="{y2}"><attribute name="a">b</attribute></box>'
    if kind == "mask":
        mask = np.pad(np.ones((y2 - y1, x2 - x1), bool), ((2, 0), (1, 3)))
        return (f'<mask {common} rle="{_rows_of_runs(mask)}" left="{x1 - 1}" top="{y1 - 2}" width="{mask.shape[1]}" '
                f'height="{mask.shape[0]}"></mask>')
    return "".join(f'<polygon {common} group_id="{order + 1}" points="{a},{y1};{b},{y1};{b},{y2};{a},{y2}"></polygon>'
                   for a, b in ((x1, middle), (middle, x2)))


def cvat_images(root: Path) -> None:
    """Polygons, boxes and masks in turn; what lies behind has the lower z_order and comes later."""
    rows = []
    for k in range(4):
        save(root / f"images/set {k}/s0.png", scene(k))
        shapes = [_cvat_shape(("polygon", "box", "mask")[k % 3], name, outline, j)
                  for j, (name, outline) in enumerate(objects(k))]
        hidden = _cvat_shape("box", "dog", objects(k)[0][1], -1)
        rows.append(f'<image id="{k}" name="set {k}/s0.png" width="{WIDTH}" height="{HEIGHT}">{"".join(shapes)}{hidden}'
                    '<points label="cat" points="1,1" z_order="0"></points><tag label="cat" source="manual"></tag>'
                    "</image>")
    _cvat_file(root, "".join(rows), "")


def cvat_video(root: Path) -> None:
    """The cat as a track of boxes over all frames, the dogs as tracks of one frame."""
    frames = range(4)
    for k in frames:
        save(root / f"images/frame_{k:06d}.png", scene(k))
    rows = ['<track id="0" label="cat" source="manual">']
    rows += [_cvat_shape("box", "", objects(k)[0][1], 0).replace("<box", f'<box frame="{k}" keyframe="1" outside="0"')
             for k in frames]
    rows.append('</track>')
    for k in frames:
        kind = ("mask", "box")[k % 2]
        shape = _cvat_shape(kind, "", objects(k)[1][1], 1)
        rows.append(f'<track id="{k + 1}" label="dog" source="manual">' + "".join(
            shape.replace(f"<{kind}", f'<{kind} frame="{k + after}" keyframe="1" outside="{after}"')
            for after in (0, 1)) + "</track>")
    size = f"<original_size><width>{WIDTH}</width><height>{HEIGHT}</height></original_size>"
    _cvat_file(root, "".join(rows), size)


def _cvat_file(root: Path, rows: str, size: str) -> None:
    labels = "".join(f"<label><name>{name}</name><color>#fa3253</color><attributes></attributes></label>"
                     for name in NAMES)
    (root / "annotations.xml").write_text(
        f'<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version><meta><task><labels>{labels}'
        f"</labels>{size}</task></meta>{rows}</annotations>\n")


def packed_brush(mask: np.ndarray) -> list[int]:
    """A mask as Label Studio packs it: repeated bytes where they are many, else literal ones."""
    data = np.repeat(np.where(mask, 255, 0).astype(np.uint8).ravel(), 4)
    edges = [0, *(np.flatnonzero(np.diff(data)) + 1).tolist(), len(data)]
    words = [(len(data), 32), (7, 5), (2, 4), (7, 4), (7, 4), (7, 4)]
    for first, last in itertools.pairwise(edges):
        for at in range(first, last, 256):
            length = min(last - at, 256)
            if length <= 8:  # literal
                words += [(0, 1), (0, 2), (length - 1, 3), *((int(value), 8) for value in data[at:at + length])]
            else:
                words += [(1, 1), (1, 2), (length - 1, 8), (int(data[at]), 8)]
    bits = "".join(f"{value:0{width}b}" for value, width in words)
    bits += "0" * (-len(bits) % 8)
    return [int(bits[k:k + 8], 2) for k in range(0, len(bits), 8)]


def label_studio_region(kind: str, name: str, outline) -> list[dict]:
    """One object of the same pixels as a polygon, rectangle, brush mask, or polygon that is labelled afterwards."""
    (x1, y1), _, (x2, y2), _ = outline
    x, y = 100 / WIDTH, 100 / HEIGHT
    common = {"original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0, "id": f"{kind}{name}"}
    points = [[px * x, py * y] for px, py in outline]
    if kind == "rectangle":  # turned by a quarter around its upper left corner
        value = {"x": x2 * x, "y": y1 * y, "width": (y2 - y1) * x, "height": (x2 - x1) * y, "rotation": 90}
    elif kind == "brush":
        value = {"format": "rle", "rle": packed_brush(mask_of(outline))}
    else:
        value = {"points": points, "closed": True}
    if kind == "labels":
        return [common | {"type": "polygon", "value": value}, common | {"type": "labels", "value":
                                                                        value | {"labels": [name]}}]
    return [common | {"type": f"{kind}labels", "value": value | {f"{kind}labels": [name]}}]


def label_studio_json(root: Path) -> None:
    tasks = []
    for k in range(4):
        save(root / f"images/s {k}.png", scene(k))
        kind = ("polygon", "rectangle", "brush", "labels")[k]
        done = [region for name, outline in objects(k) for region in label_studio_region(kind, name, outline)]
        address = (f"/data/upload/1/0123abcd-s%20{k}.png", f"/data/local-files/?d=images/s%20{k}.png",
                   f"s3://bucket/x/s {k}.png", f"http://host/images/s%20{k}.png")[k]
        tasks.append({"id": k, "data": {"image": address, "text": "a note"}, "predictions": [], "annotations": [
            {"id": 1, "was_cancelled": True, "result": [], "updated_at": "2026-02"},
            {"id": 2, "was_cancelled": False, "result": done, "updated_at": "2026-01-02"},
            {"id": 3, "was_cancelled": False, "result": done[:1], "updated_at": "2026-01-01"}]})
    put_json(root / "project-1.json", tasks)


def label_studio_min(root: Path) -> None:
    tasks = []
    for k in range(4):
        save(root / f"s{k}.png", scene(k))
        shapes = [entry | entry["value"] for name, outline in objects(k)
                  for entry in label_studio_region("polygon", name, outline)]
        tasks.append({"id": k, "image": f"/data/upload/1/0123abcd-s{k}.png", "annotator": 1, "label": [
            {key: value for key, value in shape.items() if key not in ("value", "type", "id")} for shape in shapes]})
    put_json(root / "project-1-min.json", tasks)


def ade20k_instances(root: Path) -> None:
    ade20k(root)
    for k in range(4):
        split = "training" if k < 3 else "validation"
        pixels = np.stack([truth(k), instances(k), np.zeros_like(truth(k))], -1)
        save(root / f"ADEChallengeData2016/annotations_instance/{split}/s{k}.png", pixels)
    rows = ["Instance100\tSceneParse150\tFullADE", *(f"{n}\t{n + 7}\t{name}" for n, name in enumerate(NAMES, 1))]
    (root / "ADEChallengeData2016/categoryMapping.txt").write_text("\n".join(rows))


def ade20k_full(root: Path) -> None:
    for k in range(4):
        folder = root / f"images/ADE/{'training' if k < 3 else 'validation'}/home/kitchen"
        save(folder / f"s{k}.png", scene(k))
        shapes = [{"id": j, "name": f"{name}, pet", "parts": {"part_level": 0, "hasparts": []},
                   "polygon": {"x": [x for x, _ in outline], "y": [y for _, y in outline]}}
                  for j, (name, outline) in enumerate(objects(k))]
        part = shapes[0] | {"name": "leg", "parts": {"part_level": 1}}
        content = {"annotation": {"filename": f"s{k}.png", "raw": "caf\u00e9", "object": [*shapes, part]}}
        (folder / f"s{k}.json").write_bytes(json.dumps(content, ensure_ascii=False).encode("latin-1"))


# Further forms of a format, called FORMAT/FORM, where one folder cannot hold all of them.
FORMS = {"cvat/images": cvat_images, "cvat/video": cvat_video, "label_studio/json": label_studio_json,
         "label_studio/min": label_studio_min, "cityscapes/polygons": cityscapes_polygons,
         "ade20k/instances": ade20k_instances, "ade20k/full": ade20k_full}
EVERY = WRITERS | FORMS
