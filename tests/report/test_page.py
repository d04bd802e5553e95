"""The HTML page: complete in itself, escaped, and with every number."""
import re
from html.parser import HTMLParser

import pytest

from src.report.charts import histogram
from src.report.page import Page, Picture, render

NUMBERS = {"miou": 0.5, "images": 3, "iou": {"a<b": 0.75, "unseen": None}, "confusion": [[9, 1], [0, 0]]}


class Reader(HTMLParser):
    """Collects attributes and checks that tags are closed in order."""

    def __init__(self):
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str]] = []

    def handle_starttag(self, tag, attrs):
        self.attributes += attrs
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def page(**changes) -> str:
    return render(Page(**{"title": "run <1>", "metric": "miou", "numbers": NUMBERS, "facts": {"model": "x & y"},
                          "colours": {"a<b": (1, 2, 3), "unseen": (4, 5, 6)},
                          "pictures": [Picture("Curve", b"abc", kind="png")]} | changes))


def test_tags_are_balanced_and_nothing_is_fetched():
    reader = Reader()
    text = page()
    reader.feed(text)
    assert reader.open == []
    sources = [value for name, value in reader.attributes if name in ("src", "href")]
    assert sources == ["data:image/png;base64,YWJj"]
    assert "http" not in text


def test_names_are_escaped():
    text = page()
    assert "run &lt;1&gt;" in text
    assert "x &amp; y" in text
    assert "a&lt;b" in text
    assert "a<b" not in text


def test_numbers_bars_and_confusion_are_there():
    text = page()
    assert '<span class="headline">0.5000</span>' in text
    assert "<tr><th>images</th><td>3</td></tr>" in text
    assert "width:75.0%;background:rgb(1, 2, 3)" in text
    assert re.search(r"unseen</span>.*<span>-</span>", text)
    assert ">90.0</td>" in text
    assert ">10.0</td>" in text


def test_a_page_without_classes_or_pictures():
    text = page(numbers={"miou": None}, colours={}, pictures=[])
    assert "<img" not in text
    assert '<span class="headline">-</span>' in text


def test_numbers_that_are_not_by_class_and_tables_of_classes():
    text = page(numbers={"miou": 0.5, "bbox": {"AP": 0.25, "AP50": None},
                         "classes": {"a<b": {"bbox": 0.125, "instances": 3}, "unseen": {"bbox": None, "instances": 0}}})
    assert "<h2>bbox</h2>" in text
    assert "25.0 %" in text
    assert "<tr><th></th><th>bbox</th><th>instances</th></tr>" in text
    assert "<tr><th>a&lt;b</th><td>0.1250</td><td>3</td></tr>" in text
    assert "<tr><th>unseen</th><td>-</td><td>0</td></tr>" in text


def test_a_histogram_has_a_bar_for_each_filled_bin_and_its_marks():
    text = histogram("sides <px>", [1, 1, 1, 9], marks={"limit": 4.0}, bins=4)
    assert text.count("<rect") == 2
    heights = [float(height) for height in re.findall(r'<rect [^>]*height="([\d.]+)"', text)]
    assert heights[0] == pytest.approx(3 * heights[1], abs=0.2)
    assert "limit 4" in text
    assert "sides &lt;px&gt;" in text
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    assert histogram("nothing", []) == ""
    assert histogram("one", [5.0], logarithmic=True).count("<rect") == 1
