"""Columns of lists: what is written is read back, and lists of earlier versions are read."""
import pytest

from src.contract import InputError
from src.data.columns import columns, lines, quoted


@pytest.mark.parametrize("name", ["1.jpg", "a b.jpg", 'a "b".jpg', '"a".jpg', 'a"b.jpg', "a\\b c.jpg", "a\\b.jpg",
                                  " a.jpg", "a\tb.jpg", "a\u3000b.jpg", 'x\\" y', "a\u2028b.jpg", '""', "a b\\"])
def test_every_name_comes_back(name):
    text = f"{quoted(name)} {quoted('labels/' + name)}\n7"
    assert [columns(line) for line in lines(text)] == [[name, f"labels/{name}"], ["7"]]


def test_quotes_of_earlier_lists_and_backslashes_of_people():
    assert columns('"a ""b"".jpg" "images\\IMG 1.jpg"') == ['a "b".jpg', "images\\IMG 1.jpg"]


@pytest.mark.parametrize("line", ['"a b.jpg label.png', 'a.jpg "b', '"a"b c'])
def test_a_quote_that_does_not_end_is_refused(line):
    with pytest.raises(InputError, match="double quote"):
        columns(line)


@pytest.mark.parametrize("name", ["a\nb", "a\rb", "\ud800", "", None, 7, "a\0b"])
def test_names_that_no_line_holds_are_refused(name):
    with pytest.raises(InputError, match="cannot be written to a list; rename the image"):
        quoted(name)
