"""Pictures of predictions and truth. Images are (H, W, 3) uint8 RGB throughout; nothing is drawn in place unasked."""
from __future__ import annotations

import colorsys
from collections.abc import Callable, Sequence

import cv2
import numpy as np

INK, PAPER, GRAY, WRONG = (34, 34, 38), (255, 255, 255), (120, 120, 128), (228, 42, 60)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_GAP = 8  # pixels between the parts of a picture
_DARKENED = (70, 70, 74)
Part = tuple[np.ndarray, int, int]  # a mask (h, w) of a part of an image, its top row and its left column
_STRIP = 2 ** 20  # pixels that are tinted at once, in floats
_NAMED = 20  # objects in an image up to which each gets a name tag; more tags would hide each other
_HIDDEN = 0.25  # share of an image up to which tags may cover it; in a small one they would hide the objects


def palette(class_names: Sequence[str]) -> np.ndarray:
    """(K, 3) uint8, one colour per class, which depends on the index but not on K; "background" is black.

    Neighbouring indices have distant colours: hues advance by the golden ratio, light and dark alternate.
    """
    colours = [colorsys.hsv_to_rgb((0.98 + 0.61803 * k) % 1, (0.85, 0.62)[k % 2], (0.78, 0.98, 0.9)[k % 3])
               for k in range(len(class_names))]
    table = (np.array(colours) * 255).round().astype(np.uint8)
    table[[name == "background" for name in class_names]] = 0
    return table


def fit(array: np.ndarray, side: int, *, labels: bool = False) -> np.ndarray:
    """Scale an image so that its long side is `side` pixels; with `labels`, without mixing values."""
    factor = side / max(array.shape[:2])
    size = tuple(max(round(s * factor), 1) for s in array.shape[1::-1])
    smooth = cv2.INTER_CUBIC if factor > 1 else cv2.INTER_AREA
    return cv2.resize(array, size, interpolation=cv2.INTER_NEAREST if labels else smooth)


def overlay(image: np.ndarray, labels: np.ndarray, colours: np.ndarray, *, alpha: float = 0.6,
            in_place: bool = False) -> np.ndarray:
    """Tint an image by its label map, with an outline around every region.

    Args:
        labels: (H, W) class indices; values from K on (the ignore label) are darkened instead of tinted.
        colours: (K, 3) of `palette`; black classes are not tinted.
        alpha: weight of the class's colour, 0 to 1.
        in_place: draw into `image` itself, which may be large.
    """
    out = image if in_place else image.copy()
    rows = max(_STRIP // labels.shape[1], 1)
    for top in range(0, len(labels), rows):
        strip = slice(top, top + rows)
        above = min(top, 1)  # a row on either side, for regions that end there
        edges = cv2.morphologyEx(labels[top - above:top + rows + 1], cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
        _tint(out[strip], labels[strip], edges[above:][:rows], colours, alpha)
    return out


def _tint(out: np.ndarray, labels: np.ndarray, edges: np.ndarray, colours: np.ndarray, alpha: float) -> None:
    known = labels < len(colours)
    tint = colours[np.where(known, labels, 0)]
    tinted = known & tint.any(-1)
    out[tinted] = (out[tinted] * (1 - alpha) + tint[tinted] * alpha).astype(np.uint8)
    out[~known] = (out[~known] * 0.45).astype(np.uint8)
    out[(edges > 0) & known] = PAPER


def errors(image: np.ndarray, truth: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """A pale gray image with wrong pixels in red; pixels whose truth is not a class are not marked."""
    pale = 120 + cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(int) * 115 // 255
    out = np.repeat(pale[..., None], 3, 2).astype(np.uint8)
    out[(truth < num_classes) & (truth != predicted)] = WRONG
    return out


def instances(image: np.ndarray, boxes: np.ndarray, labels: Sequence[int], *, class_names: Sequence[str],
              scores: Sequence[float] | None = None,
              mask: Callable[[int], Part | None] = lambda k: None, alpha: float = 0.5,
              in_place: bool = False) -> np.ndarray:
    """Draw instances over an image, the first on top; with their names if those are few and hide little.

    Args:
        boxes: (N, 4) xyxy, half-open, pixels of the image.
        labels: N class indices.
        scores: N numbers in [0, 1], or None for truth.
        mask: from an instance's number to its mask, None where it has none. Only one mask exists at a time.
        in_place: draw into `image` itself, which may be large.
    """
    out = image if in_place else image.copy()
    colours = palette([f"instance {k}" for k in range(len(boxes))])  # by instance, neighbours of one class differ
    for k in reversed(range(len(boxes))):
        if (found := mask(k)) is None:
            continue
        part, top, left = found
        part = np.ascontiguousarray(part, np.uint8)
        inside, under = part > 0, out[top:top + part.shape[0], left:left + part.shape[1]]
        under[inside] = (under[inside] * (1 - alpha) + colours[k] * alpha).astype(np.uint8)
        outlines, _ = cv2.findContours(part, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(out, outlines, -1, PAPER, 1, offset=(left, top))  # unsmoothed: it follows the mask's pixels
    texts = [class_names[label] + ("" if scores is None else f" {scores[k]:.2f}") for k, label in enumerate(labels)]
    hidden = sum(width * height for width, height, _ in map(_tag_size, texts))
    named = len(boxes) <= _NAMED and hidden <= _HIDDEN * out.shape[0] * out.shape[1]
    for k in reversed(range(len(boxes))):
        x1, y1, x2, y2 = (round(float(v)) for v in boxes[k])
        cv2.rectangle(out, (x1, y1), (max(x2 - 1, x1), max(y2 - 1, y1)), colours[k].tolist(), 1)
        if named:
            _tag(out, texts[k], (x1, y1), colours[k].tolist())
    return out


def _tag_size(text: str) -> tuple[int, int, int]:
    """Width and height of a filled label, and how far its text's baseline is above its lower end."""
    (width, height), base = cv2.getTextSize(text, _FONT, 0.38, 1)
    return width + 4, height + base + 3, base


def _tag(out: np.ndarray, text: str, corner: tuple[int, int], colour: Sequence[int]) -> None:
    """A filled label with `text` above `corner`, moved into the image if necessary."""
    width, height, base = _tag_size(text)
    x = max(min(corner[0], out.shape[1] - width), 0)
    y = max(corner[1], height - 1)
    cv2.rectangle(out, (x, y - height + 1), (x + width - 1, y), colour, -1)
    ink = INK if np.dot(colour, (0.3, 0.59, 0.11)) > 140 else PAPER
    cv2.putText(out, text, (x + 2, y - base), _FONT, 0.38, ink, 1, cv2.LINE_AA)


def legend(class_names: Sequence[str], colours: np.ndarray, width: int) -> np.ndarray:
    """A strip `width` pixels wide with a swatch and a name for each class, in as many lines as needed.

    Classes that `overlay` does not tint have an empty swatch; the last swatch is for darkened pixels.
    """
    names, colours = [*class_names, "not counted"], [*colours.tolist(), _DARKENED]
    places, x, y = [], _GAP, _GAP
    for name in names:
        length = 30 + cv2.getTextSize(name, _FONT, 0.45, 1)[0][0]
        if x > _GAP and x + length > width:
            x, y = _GAP, y + 24
        places.append((x, y))
        x += length + 14
    strip = np.full((y + 26, width, 3), 255, np.uint8)
    for name, colour, (x, y) in zip(names, colours, places):
        cv2.rectangle(strip, (x, y), (x + 22, y + 14), colour if any(colour) else GRAY, -1 if any(colour) else 1)
        cv2.putText(strip, name, (x + 29, y + 12), _FONT, 0.45, INK, 1, cv2.LINE_AA)
    return strip


def grid(rows: Sequence[Sequence[np.ndarray]], titles: Sequence[str], captions: Sequence[str], *,
         side: int) -> np.ndarray:
    """Images in rows and columns on white paper.

    Args:
        rows: each a list of images, one per column, with sides of at most `side` pixels.
        titles: of the columns.
        captions: of the rows.
    """
    width = len(titles) * (side + _GAP) + _GAP
    parts = [_text_line(titles, side, width, INK)]
    for images, caption in zip(rows, captions):
        row = np.full((max(image.shape[0] for image in images) + _GAP, width, 3), 255, np.uint8)
        for column, image in enumerate(images):
            x = _GAP + column * (side + _GAP)
            row[: image.shape[0], x : x + image.shape[1]] = image
        parts += [row[:-_GAP // 2], _text_line([caption], side, width, GRAY)]
    return np.concatenate(parts)


def _text_line(texts: Sequence[str], side: int, width: int, ink: Sequence[int]) -> np.ndarray:
    line = np.full((26, width, 3), 255, np.uint8)
    for column, text in enumerate(texts):
        cv2.putText(line, text, (_GAP + column * (side + _GAP), 16), _FONT, 0.45, ink, 1, cv2.LINE_AA)
    return line


def semantic_row(image: np.ndarray, truth: np.ndarray, predicted: np.ndarray, colours: np.ndarray,
                 side: int) -> list[np.ndarray]:
    """The four pictures of one image, long side `side`: image, truth, prediction, errors. See SEMANTIC_TITLES."""
    image = fit(image, side)
    truth, predicted = (fit(labels, side, labels=True) for labels in (truth, predicted))
    return [image, overlay(image, truth, colours), overlay(image, predicted, colours),
            errors(image, truth, predicted, len(colours))]


SEMANTIC_TITLES = ("image", "truth", "prediction", "wrong pixels")


def below(upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """Stack two pictures of the same width."""
    return np.concatenate([upper, lower])


def jpeg(image: np.ndarray) -> bytes:
    """Encode RGB pixels as JPEG."""
    return cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
