"""Texts of flags and YAML files that are values, and those that are left alone."""
import pytest

from src.literals import items, literal


@pytest.mark.parametrize(("text", "value"), [
    ("1/3.0", 1 / 3.0), ("-2", -2), ("1e-4", 1e-4), ("2 * 3", 6), ("True", True), ("None", None), ("'a b'", "a b"),
    ("(28, 28)", [28, 28]), ("[(192, 320), (96, 160)]", [[192, 320], [96, 160]]), ("[0., 1/2]", [0.0, 0.5]),
    ("dict(type='RoIAlign', out_size=7)", {"type": "RoIAlign", "out_size": 7}), ("{'a': 1}", {"a": 1}),
    ("{type: RoIAlign, out_size: 7}", {"type": "RoIAlign", "out_size": 7}), ("[a, b]", ["a", "b"])])
def test_literals_of_python_and_yaml(text, value):
    assert literal(text) == value
    assert type(literal(f" {text}\n")) is type(value)


@pytest.mark.parametrize("text", [
    "", "cos", "a/b", "/d/voc1", "1/0", "9**9", "open('x')", "__import__('os')", "dict(1)", "dict(**{})", "(1).real",
    "b'a'", "1j", "True/2", "'a'*3", "lambda: 0", "{", "(x for x in (1, 2))", "dict(a=1, a=2)", "(" * 10_000, "a\0b",
    "9" * 5000, "1e400*0 if 1 else 2", "f'{1}'"])
def test_what_is_no_literal_stays_text(text, recwarn):
    assert literal(text) == text
    assert not recwarn


@pytest.mark.parametrize(("text", "entries"), [
    ("", []), ("a", ["a"]), ("a, b", ["a", "b"]), ("(8,)", ["8"]), ("('a b', 'c (d)')", ["a b", "c (d)"]),
    ("[1/3, 2]", ["1/3", "2"]), ("no,yes", ["no", "yes"]), ("a: [", ["a: ["])])
def test_entries_of_a_list_are_texts(text, entries):
    assert items(text) == entries
