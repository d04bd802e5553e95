"""The comparison of runs as an HTML page: numbers with intervals, differences, learning curves, configurations."""
from __future__ import annotations

from collections.abc import Sequence

from src.report.curves import learning_curves
from src.report.page import Picture, document, figure, text
from src.results.comparison import Cell, Comparison, difference_text, ends, head, number
from src.results.runs import Run

_SURE = 0.05  # p-values below it are shown in bold


def render(comparison: Comparison, runs: Sequence[Run]) -> str:
    """The page as HTML text."""
    sections = [f"<h1>{text(' against '.join(comparison.names))}</h1>"
                f'<p class="note">{text(head(comparison))}. The intervals say how much the numbers depend on the '
                "images; training again with another seed changes them too.</p>"]
    sections.append("<h2>Numbers</h2>" + _table(comparison.names, comparison.whole))
    sections += [f"<h2>{text(title)}</h2>" + _table(comparison.names, rows)
                 for title, rows in comparison.classes.items()]
    sections += _curves(runs)
    if comparison.configurations:
        rows = [_row("th", ("", *comparison.names))]
        rows += [_row("td", (key, *values)) for key, values in comparison.configurations.items()]
        sections.append(f'<h2>Configurations differ in</h2><table class="wide">{"".join(rows)}</table>')
    return document("Comparison of runs", sections)


def _table(names: Sequence[str], rows: dict[str, list[Cell]]) -> str:
    lines = [_row("th", ("", *names))]
    for title, cells in rows.items():
        shown = [f"<th>{text(title)}</th>"]
        for cell in cells:
            lower = text(difference_text(cell))
            if cell.p_value is not None and cell.p_value < _SURE:
                lower = f"<b>{lower}</b>"
            shown.append(f"<td>{number(cell.value)} {text(ends(cell.interval))}<br>{lower}</td>")
        lines.append(f"<tr>{''.join(shown)}</tr>")
    return f'<table class="wide">{"".join(lines)}</table>'


def _row(tag: str, values: Sequence[object]) -> str:
    return "<tr>" + "".join(f"<{tag}>{text(value)}</{tag}>" for value in values) + "</tr>"


def _curves(runs: Sequence[Run]) -> list[str]:
    """The learning curves of the runs whose logs are there, and the names of those whose logs are not."""
    logs = {run.name: run.log for run in runs if run.log}
    missing = [run.name for run in runs if not run.log]
    note = f"No metrics.jsonl beside the checkpoint of {', '.join(missing)}." if missing else ""
    if not logs:
        return [f'<h2>Learning curves</h2><p class="note">{text(note)}</p>']
    first = next((line for log in logs.values() for line in log if line["kind"] == "train"), {})
    loss = next((name for name in first if "loss" in name), "loss")
    metric = "miou" if "miou" in runs[0].numbers else "ap"
    picture = Picture("Learning curves", learning_curves(logs, loss=loss, metric=metric), note, "png")
    return [figure(picture)]
