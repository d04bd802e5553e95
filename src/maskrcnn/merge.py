"""One list of instances from those of an image's overlapping tiles.

The rule, for instances of one class:

1. Same object. Two instances of different tiles are one object where their masks, restricted to the region that the
   two tiles share, have an IoU of at least `AGREE`. Objects are put together from the best agreement down; an object
   holds at most one instance of a tile, because the network has already told those of one tile apart.
2. One mask. An object's instances are ordered: those first that no inner border of their tile cuts, then by score. The
   first one decides within its own tile, each further one only outside the tiles of those before it. So what one tile
   sees as a whole stays as it was seen, and an object larger than the overlap is put together from its parts. The box
   encloses the boxes of those that gave pixels; the score is the best one.
3. One tile decides. Where an object's box lies in the tile whose centre is nearest to the box's own, that tile's
   instance alone stands for it, with its score; and where that tile found none, the object is dropped: the others see
   it at their sides, perhaps cut. So an image of many tiles gets no more wrong detections than its parts would alone.
   Larger objects, whose box leaves that tile, count wherever they are found.
4. Remainders. Objects seen as a whole are taken first, then those that only exist as cut ones, each by score. One is
   dropped where its mask has an IoU of at least `SAME` with that of an object taken before, or where it is a cut one
   and lies in it with at least `INSIDE` of its pixels. Objects that share a tile are not compared.
5. Order by score; at most `limit` remain.

Masks are edges of runs (`src/maskrcnn/mask_runs.py`): their pixels do not exist. `ascend310_infer/src/merge.cc` has the
same rule. No MindSpore here.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from src.contract import Instances
from src.maskrcnn import mask_runs
from src.maskrcnn.tiles import Tile, owners

AGREE = 0.5
SAME = 0.5
INSIDE = 0.7
_Member = tuple[int, int]  # numbers of a tile and of an instance in it


@dataclass
class TileInstances:
    """The instances of one tile, in the image's frame.

    Attributes:
        tile: where the network looked.
        boxes: (N, 4) float32 xyxy.
        labels: (N,) int32.
        scores: (N,) float32.
        masks: N edges of runs.
    """

    tile: Tile
    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    masks: list[np.ndarray]


@dataclass
class _Object:
    """Instances that are one object."""

    members: list[_Member]
    tiles: set[int] = field(default_factory=set)
    label: int = 0
    score: float = 0.0
    box: np.ndarray | None = None
    mask: np.ndarray | None = None
    is_cut: bool = False


def merge(found: Sequence[TileInstances], image_id: int, image_size: tuple[int, int], *, limit: int = 0,
          with_masks: bool = True) -> Instances:
    """The instances of an image, best score first, by the rule above.

    Args:
        found: of each tile, in the order of `Tiling.tiles`.
        image_id, image_size: of the image; (H, W).
        limit: instances that remain, at most; 0: all.
        with_masks: False leaves `rles` empty.
    """
    cut = [part.tile.cuts(part.boxes, image_size) for part in found]
    objects = [_put_together(members, found, cut, image_size[0]) for members in _objects(found, image_size[0])]
    kept = sorted(_without_remainders(_decided(objects, found)), key=lambda one: (-one.score, one.members[0]))
    kept = kept[:limit] if limit else kept
    return Instances(image_id, np.array([one.box for one in kept], np.float32).reshape(-1, 4),
                     np.array([one.label for one in kept], np.int32), np.array([one.score for one in kept], np.float32),
                     [mask_runs.to_rle(one.mask, image_size) for one in kept] if with_masks else [])


def _objects(found: Sequence[TileInstances], height: int) -> list[list[_Member]]:
    """Step 1: the instances of each object, in their order."""
    owner = {(t, k): _Object([(t, k)], {t}) for t, part in enumerate(found) for k in range(len(part.scores))}
    for _, a, b in sorted(_agreements(found, height), key=lambda row: (-row[0], *row[1:])):
        one, other = owner[a], owner[b]
        if one is not other and not one.tiles & other.tiles:
            one.members += other.members
            one.tiles |= other.tiles
            owner |= dict.fromkeys(other.members, one)
    return [sorted(one.members) for one in {id(one): one for one in owner.values()}.values()]


def _agreements(found: Sequence[TileInstances], height: int) -> Iterator[tuple[float, _Member, _Member]]:
    """(IoU in the shared region, one, other) of the instances that agree in it."""
    for t, part in enumerate(found):
        for u in range(t + 1, len(found)):
            shared = part.tile.shared(found[u].tile)
            if shared is None:
                continue
            region = shared.edges(height)
            for i, k in zip(*np.nonzero(_overlaps(part.boxes, found[u].boxes)
                                        & (part.labels[:, None] == found[u].labels))):
                agreement = _iou(*(mask_runs.intersection(mask, region)
                                   for mask in (part.masks[i], found[u].masks[k])))
                if agreement >= AGREE:
                    yield agreement, (t, int(i)), (u, int(k))


def _overlaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(N, M) bool: which boxes (N, 4) and (M, 4) share an area."""
    return (np.maximum(a[:, None, :2], b[None, :, :2]) < np.minimum(a[:, None, 2:], b[None, :, 2:])).all(2)


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    common = mask_runs.area(mask_runs.intersection(a, b))
    return common / max(mask_runs.area(a) + mask_runs.area(b) - common, 1)


def _put_together(members: list[_Member], found: Sequence[TileInstances], cut: Sequence[np.ndarray],
                  height: int) -> _Object:
    """Step 2."""
    first, *others = sorted(members, key=lambda m: (bool(cut[m[0]][m[1]]), -found[m[0]].scores[m[1]], m))
    part = found[first[0]]
    one = _Object(members, {t for t, _ in members}, int(part.labels[first[1]]),
                  max(float(found[t].scores[k]) for t, k in members), part.boxes[first[1]], part.masks[first[1]],
                  bool(cut[first[0]][first[1]]))
    looked_at = part.tile.edges(height) if others else None
    for t, k in others:
        new = mask_runs.difference(found[t].masks[k], looked_at)
        if len(new):
            one.mask = mask_runs.union(one.mask, new)
            box = found[t].boxes[k]
            one.box = np.concatenate([np.minimum(one.box[:2], box[:2]), np.maximum(one.box[2:], box[2:])])
        looked_at = mask_runs.union(looked_at, found[t].tile.edges(height))
    return one


def _decided(objects: list[_Object], found: Sequence[TileInstances]) -> list[_Object]:
    """Step 3."""
    decisive = owners([part.tile for part in found], np.array([one.box for one in objects]).reshape(-1, 4))
    kept = []
    for one, tile in zip(objects, decisive):
        instances = dict(one.members)
        if tile in instances:
            part, k = found[tile], instances[tile]
            one.box, one.mask, one.score = part.boxes[k], part.masks[k], float(part.scores[k])
        if tile < 0 or tile in instances:
            kept.append(one)
    return kept


def _without_remainders(objects: list[_Object]) -> list[_Object]:
    """Step 4."""
    objects = sorted(objects, key=lambda one: (one.is_cut, -one.score, one.members[0]))
    boxes = np.array([one.box for one in objects]).reshape(-1, 4)
    labels, kept = np.array([one.label for one in objects]), np.zeros(len(objects), bool)
    for k, one in enumerate(objects):
        near = np.flatnonzero(kept[:k] & (labels[:k] == one.label) & _overlaps(boxes[k:k + 1], boxes[:k])[0])
        kept[k] = not any(_is_remainder(one, objects[other]) for other in near)
    return [objects[k] for k in np.flatnonzero(kept)]


def _is_remainder(one: _Object, other: _Object) -> bool:
    """Whether `one` is a part or a copy of an object that comes before it."""
    if one.tiles & other.tiles:
        return False
    own, common = mask_runs.area(one.mask), mask_runs.area(mask_runs.intersection(one.mask, other.mask))
    together = own + mask_runs.area(other.mask) - common
    return common >= SAME * max(together, 1) or (one.is_cut and common >= INSIDE * max(own, 1))
