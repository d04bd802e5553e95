"""HTML pages that need no server and no network: their parts, and a run with numbers, bars and embedded pictures."""
from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222226; background: #f4f4f6; margin: 0 }
main { max-width: 1080px; margin: 0 auto; padding: 28px 20px 60px }
h1 { font-size: 26px; margin: 0 } h2 { font-size: 18px; margin: 0 0 10px }
section { background: #fff; border-radius: 10px; padding: 18px 20px; margin-top: 18px; box-shadow: 0 1px 3px #0001 }
p.note { color: #78787f; margin: 4px 0 0 } img { max-width: 100%; display: block }
.headline { font-size: 40px; font-weight: 650; margin-right: 10px }
table { border-collapse: collapse }
td, th { padding: 3px 14px 3px 0; text-align: left; font-variant-numeric: tabular-nums }
.bar { display: grid; grid-template-columns: 130px 1fr 60px; gap: 10px; align-items: center; margin: 4px 0 }
.bar i { display: block; height: 14px; border-radius: 4px; min-width: 2px }
.bar div { background: #eeeef1; border-radius: 4px }
.matrix td { text-align: right; padding: 4px 8px } .matrix th { font-weight: 500; padding: 4px 8px; color: #55555c }
svg { max-width: 100%; display: block; margin-top: 8px }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(440px, 1fr)); gap: 8px 28px }
.wide td, .wide th { vertical-align: top; padding-bottom: 8px }
.tag { border-radius: 5px; padding: 1px 8px; color: #fff; font-size: 13px }
.ok { background: #2a9d6f } .warning { background: #d3820f } .failure { background: #d33a32 }
code { background: #f0f0f3; border-radius: 5px; padding: 2px 6px; overflow-wrap: anywhere }
"""


@dataclass(frozen=True)
class Picture:
    """The bytes of an image file, "jpeg" or "png" by `kind`, with its title and a note."""

    title: str
    data: bytes
    note: str = ""
    kind: str = "jpeg"


@dataclass(frozen=True)
class Page:
    """What a report shows.

    Attributes:
        title: of the page.
        metric: the key of `numbers` that is shown at the top.
        numbers: `Evaluator.compute()`. Single numbers become a table, {name: value or None} becomes bars,
            {name: {column: value or None}} another table, and `confusion`, K x K counts with the truth in rows, a
            matrix in percent of each row.
        colours: {class: (red, green, blue)} of the bars.
        facts: {name: text} of what was run.
        pictures: in the order of the page.
    """

    title: str
    metric: str
    numbers: Mapping
    colours: Mapping[str, Sequence[int]]
    facts: Mapping[str, str]
    pictures: Sequence[Picture] = field(default_factory=tuple)


def render(page: Page) -> str:
    """The page as HTML text."""
    value = page.numbers[page.metric]
    shown = "-" if value is None else f"{value:.4f}"
    sections = [f'<h1>{text(page.title)}</h1><p><span class="headline">{shown}</span>{text(page.metric)}</p>'
                + table(page.facts)]
    single = {k: v for k, v in page.numbers.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}
    sections.append("<h2>Numbers</h2>" + table({k: _number(v) for k, v in single.items()}))
    for name, values in page.numbers.items():
        if isinstance(values, Mapping):
            sections.append(_mapping(name, values, page.colours))
    sections += [figure(picture) for picture in page.pictures]
    if page.numbers.get("confusion") and len(page.numbers["confusion"]) <= 30:
        sections.append(_confusion(page.numbers["confusion"], list(page.colours)))
    return document(page.title, sections)


def document(title: str, sections: Sequence[str]) -> str:
    """A page of sections, which are HTML text, each on its own white ground."""
    body = "\n".join(f"<section>{section}</section>" for section in sections)
    return (f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{text(title)}</title>'
            f"<style>{_STYLE}</style></head>\n<body><main>\n{body}\n</main></body></html>\n")


def text(value: object) -> str:
    """Any value as HTML text; half surrogate pairs, which no file can hold, become question marks."""
    return html.escape(str(value).encode("utf-8", "replace").decode("utf-8"))


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.4f}"


def table(rows: Mapping[str, str]) -> str:
    """A table of names and values."""
    return "<table>" + "".join(f"<tr><th>{text(k)}</th><td>{text(v)}</td></tr>" for k, v in rows.items()) + "</table>"


def _mapping(name: str, values: Mapping, colours: Mapping[str, Sequence[int]]) -> str:
    if any(isinstance(value, Mapping) for value in values.values()):
        return f"<h2>{text(name)}</h2>" + columns(values)
    by_class = " by class" if set(values) <= set(colours) else ""
    return f"<h2>{text(name)}{by_class}</h2>" + bars(values, colours)


def columns(rows: Mapping[str, Mapping[str, float | None]]) -> str:
    """A table of {row: {column: number, or None where there is none}}."""
    names = list(dict.fromkeys(column for row in rows.values() for column in row))
    lines = ["<tr><th></th>" + "".join(f"<th>{text(name)}</th>" for name in names) + "</tr>"]
    for title, row in rows.items():
        cells = ("-" if row.get(name) is None else _number(row[name]) for name in names)
        lines.append(f"<tr><th>{text(title)}</th>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return f"<table>{''.join(lines)}</table>"


def bars(values: Mapping[str, float | None], colours: Mapping[str, Sequence[int]]) -> str:
    """Bars of shares in 0..1, each with its name and percent; None is shown as a missing value."""
    lines = []
    for name, value in values.items():
        colour = "rgb({}, {}, {})".format(*colours.get(name, (90, 110, 160)))
        width, shown = (0, "-") if value is None else (100 * max(min(value, 1), 0), f"{100 * value:.1f} %")
        bar = f'<div><i style="width:{width:.1f}%;background:{colour}"></i></div>'
        lines.append(f'<div class="bar"><span>{text(name)}</span>{bar}<span>{shown}</span></div>')
    return "".join(lines)


def figure(picture: Picture) -> str:
    """A picture with its title and note, embedded in the page."""
    data = base64.b64encode(picture.data).decode("ascii")
    note = f'<p class="note">{text(picture.note)}</p>' if picture.note else ""
    return (f"<h2>{text(picture.title)}</h2>"
            f'<img alt="{text(picture.title)}" src="data:image/{picture.kind};base64,{data}">{note}')


def _confusion(counts: Sequence[Sequence[int]], names: Sequence[str]) -> str:
    head = "".join(f"<th>{text(name)}</th>" for name in names)
    lines = []
    for name, row in zip(names, counts):
        total = max(sum(row), 1)
        cells = "".join(f'<td style="background:rgba(47, 111, 222, {0.75 * v / total:.3f})">{100 * v / total:.1f}</td>'
                        for v in row)
        lines.append(f"<tr><th>{text(name)}</th>{cells}</tr>")
    return ("<h2>Confusion matrix</h2><p class=\"note\">Rows: truth, columns: prediction, percent of the row.</p>"
            f'<table class="matrix"><tr><th></th>{head}</tr>{"".join(lines)}</table>')
