"""The data doctor's page: findings first, then proposed settings, then what the numbers and pictures show."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from src.doctor.data import pictures
from src.doctor.data.checkup import Checkup
from src.doctor.data.facts import NONE, Facts
from src.doctor.data.instance_facts import boxes_in_input, contradicting, twins
from src.doctor.finding import FAILURE, OK, WARNING, Finding
from src.report import draw
from src.report.charts import histogram
from src.report.page import Picture, bars, columns, document, figure, table, text


def render(checkup: Checkup, *, command: str, samples: np.ndarray | None, fault: str) -> str:
    """The page as HTML text.

    Args:
        command: that trains with the proposed settings.
        samples: `pictures.samples`, and `fault` why some are missing.
    """
    splits = checkup.facts["splits"]
    sections = [_top(checkup), _findings(checkup.findings), _proposals(checkup, command)]
    if samples is not None or fault:
        sections.append(_samples(samples, fault))
    sections += [_images(checkup), _colours(splits)]
    sections += _labels(splits) if checkup.semantic else _instances(checkup)
    sections += [_copies(checkup), *_suspects(checkup)]
    return document("Data: " + splits["train"]["name"], [section for section in sections if section])


def _top(checkup: Checkup) -> str:
    levels = [finding.level for finding in checkup.findings]
    counts = {level: levels.count(level) for level in (FAILURE, WARNING, OK)}
    shown = " ".join(f'<span class="tag {level}">{count} {level}{"s" if level != OK and count != 1 else ""}</span>'
                     for level, count in counts.items())
    splits = {split: f"{part['name']}: {part['records']} images" for split, part in checkup.facts["splits"].items()}
    return f"<h1>Data before training</h1><p>{shown}</p>" + table({"model": checkup.settings.model} | splits)


def _findings(found: Sequence[Finding]) -> str:
    rank = {FAILURE: 0, WARNING: 1, OK: 2}
    lines = "".join(
        f'<tr><td><span class="tag {f.level}">{f.level}</span></td><th>{text(f.check)}</th>'
        f'<td>{text(f.text)}{f"<p class=note>{text(f.remedy)}</p>" if f.remedy else ""}</td></tr>'
        for f in sorted(found, key=lambda f: rank[f.level]))
    return f'<h2>Findings</h2><table class="wide">{lines}</table>'


def _proposals(checkup: Checkup, command: str) -> str:
    if not checkup.proposals:
        return "<h2>Proposed settings</h2><p>None: the given ones suit this data.</p>"
    lines = "".join(f"<tr><th>{text(p.key)}</th><td>{text(_value(p.now))}</td>"
                    f"<td><b>{text(_value(p.proposed))}</b></td><td>{text(p.reason)}</td></tr>"
                    for p in checkup.proposals)
    return ('<h2>Proposed settings</h2><table class="wide"><tr><th></th><th>now</th><th>proposed</th><th>why</th></tr>'
            f"{lines}</table><p><code>{text(command)}</code></p>")


def _value(value: Any) -> str:
    return ", ".join(map(_value, value)) if isinstance(value, (list, tuple)) else \
        f"{value:g}" if isinstance(value, float) else str(value)


def _samples(samples: np.ndarray | None, fault: str) -> str:
    note = "Drawn from the training split with the augmentation and the random numbers of the first epoch; gray is " \
           "padding. " + fault
    if samples is None:
        return f"<h2>As the network sees them</h2><p>{text(fault)}</p>"
    return figure(Picture("As the network sees them", draw.jpeg(samples), note))


def _images(checkup: Checkup) -> str:
    rows, charts = {}, []
    for split, part in checkup.facts["splits"].items():
        images = part["images"]
        if not images["height"]:
            continue
        rows[split] = {"images": part["records"], "sizes": images["sizes"], "portrait": images["portrait"],
                       **{f"{side} {name}": int(images[side][name]) for side in ("height", "width")
                          for name in ("min", "median", "max")}, "megabytes": round(images["bytes"] / 1e6)}
        headers = [image.header for image in checkup.looks[split].images if image.header]
        charts += [histogram(f"{split}: {name}, pixels", [h.size[k] for h in headers])
                   for k, name in enumerate(("height", "width"))]
    kinds = {f"{split}: {title}": ", ".join(f"{key} ({count})" for key, count in part["images"][name].items())
             for split, part in checkup.facts["splits"].items()
             for name, title in (("kinds", "format"), ("channels", "channels"), ("bits", "bits a sample"),
                                 ("orientations", "EXIF orientation"))}
    return "<h2>Images</h2>" + columns(rows) + f'<div class="charts">{"".join(charts)}</div>' + table(kinds)


def _colours(splits: Mapping[str, Facts]) -> str:
    rows: dict[str, dict[str, float | None]] = {}
    for split, part in splits.items():
        pixels = part["pixels"]
        if pixels["mean"]:
            rows[f"{split}: {pixels['images']} images ({pixels['looked_at']})"] = {
                f"{name} {channel}": value for name in ("mean", "std")
                for channel, value in zip(("red", "green", "blue"), pixels[name])}
    return "<h2>Colours</h2>" + (columns(rows) if rows else f"<p>{NONE}</p>")


def _labels(splits: Mapping[str, Facts]) -> list[str]:
    sections = []
    for split, part in splits.items():
        labels = part["labels"]
        if not labels["labels"]:
            sections.append(f"<h2>{text(split)}: pixels by class</h2><p>{NONE}</p>")
            continue
        colours = dict(zip(labels["classes"], draw.palette(list(labels["classes"])).tolist()))
        shares = {name: numbers["share"] for name, numbers in labels["classes"].items()}
        counts = {name: {"images": numbers["images"], "pixels": numbers["pixels"]} |
                  labels["regions"]["classes"].get(name, {}) for name, numbers in labels["classes"].items()}
        note = (f"{labels['labels']} labels ({labels['looked_at']}), regions of {labels['regions']['labels']}; "
                f"{100 * labels['ignored_share']:.2f} % of all pixels are ignored.")
        sections.append(f"<h2>{text(split)}: pixels by class</h2>" + bars(shares, colours) +
                        f'<p class="note">{text(note)}</p>' + columns(counts))
    return sections


def _instances(checkup: Checkup) -> list[str]:
    splits = checkup.facts["splits"]
    names = splits["train"]["instances"]["classes"]
    rows = {name: {f"{split}: {what}": part["instances"]["classes"].get(name, {}).get(what) for split, part in
                   splits.items() for what in ("objects", "images")} for name in names}
    numbers = {split: {key: part["instances"][key] for key in ("objects", "crowds", "without_objects", "vanish",
                                                               "below_a_cell")} for split, part in splits.items()}
    sections = ["<h2>Objects</h2>" + columns(numbers) + _object_charts(checkup), "<h2>Classes</h2>" + columns(rows)]
    anchors = splits["train"]["instances"]["anchors"]
    if anchors:
        shares = {f"no anchor at IoU {iou}": value for iou, value in anchors["unreached"].items()}
        note = f"Scales {_value(anchors['scales'])}, ratios {_value(anchors['ratios'])}: mean IoU of a box with its " \
               f"best anchor {anchors['mean_best_iou']:.3f}, before random expansion."
        sections.append(f'<h2>Anchors</h2>{bars(shares, {})}<p class="note">{text(note)}</p>')
    return sections


def _object_charts(checkup: Checkup) -> str:
    look, settings = checkup.looks["train"], checkup.settings
    counts = look.objects_per_image
    boxes = boxes_in_input(look, settings)
    sides = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(1))
    limits = {"max_instance_count": settings.max_instance_count}
    near = {name: value for name, value in limits.items() if value < 3 * counts.max(initial=1)}
    smallest = min(settings.anchor_scales) * min(settings.anchor_strides)
    charts = [histogram("train: objects an image", counts, marks=near),
              histogram("train: side of a box in the input, pixels", sides, marks={"smallest anchor": smallest},
                        logarithmic=True)]
    return f'<div class="charts">{"".join(charts)}</div>'


def _copies(checkup: Checkup) -> str:
    found = checkup.facts["copies"]
    rows: dict[str, dict[str, float | None]] = {
        kind: {"between the splits": found[f"{key}_across"]["count"], "within one": found[f"{key}_within"]["count"]}
        for key, kind in (("exact", "the same file"), ("near", "nearly the same picture"),
                          ("frames", "neighbouring frames"))}
    how = f"Near duplicates and frames: {found['looked_at']['near']}."
    section = f'<h2>Copies</h2>{columns(rows)}<p class="note">{text(how)}</p>'
    across = [pair for kind in ("exact", "near", "frames") for pair in checkup.pairs[kind] if pair[0][0] != pair[1][0]]
    within = [pair for kind in ("exact", "near") for pair in checkup.pairs[kind] if pair[0][0] == pair[1][0]]
    drawn = pictures.pairs(across or within, checkup.datasets, checkup.looks, checkup.decoding)
    return section if drawn is None else section + figure(Picture("Pairs", draw.jpeg(drawn)))


def _suspects(checkup: Checkup) -> list[str]:
    """Drawings of objects whose annotations look wrong."""
    if checkup.semantic:
        return []
    look, dataset = checkup.looks["train"], checkup.datasets["train"]
    objects = look.objects
    sections = []
    for title, chosen in (("Boxes that contradict their masks", contradicting),
                          ("Objects that are there twice", twins)):
        drawn = pictures.marked(objects, dataset, look, checkup.settings.names, checkup.decoding, chosen)
        if drawn is not None:
            sections.append(figure(Picture(title, draw.jpeg(drawn), "Some of the training images that have them.")))
    return sections
