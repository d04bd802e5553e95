"""Parse values as people write them in flags and YAML files: Python and YAML literals, fractions. No code is run."""
from __future__ import annotations

import ast
import operator
import warnings
from typing import Any

import yaml

_OPERATORS = {ast.Div: operator.truediv, ast.Mult: operator.mul, ast.USub: operator.neg, ast.UAdd: operator.pos}
_NO_LITERAL = (SyntaxError, ValueError, KeyError, ArithmeticError, RecursionError, MemoryError)


def literal(text: str) -> Any:
    """The value of a literal; any other text as it is.

    Python's numbers, strings, lists, tuples (as lists) and dictionaries, `dict(key=value, ...)`, `a / b` and `a * b` of
    numbers; YAML's lists and mappings in brackets.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes in strings
            return _value(ast.parse(text.strip(), mode="eval").body)
    except _NO_LITERAL:
        return _bracketed(text)


def items(text: str) -> list[Any]:
    """The entries of a list as texts: '0.5' -> ['0.5']; 'a, b', '[a, b]' and '(a, b)' -> ['a', 'b']."""
    text = text.strip()
    if text.startswith("(") and text.endswith(")"):
        text = f"[{text[1:-1]}]"
    for candidate in (text, f"[{text}]"):
        try:
            value = yaml.load(candidate, yaml.BaseLoader)
        except yaml.YAMLError:
            continue
        if isinstance(value, list):
            return value
    return [text]


def _bracketed(text: str) -> Any:
    if text.lstrip()[:1] not in ("[", "{"):
        return text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _value(node: ast.AST) -> Any:
    """The value of a literal's syntax tree; ValueError or KeyError for any other one."""
    if isinstance(node, ast.Constant) and isinstance(node.value, (str, int, float, type(None))):
        return node.value
    if isinstance(node, (ast.List, ast.Tuple)):
        return [_value(entry) for entry in node.elts]
    if isinstance(node, ast.Dict) and None not in node.keys:
        return {str(_value(key)): _value(value) for key, value in zip(node.keys, node.values)}
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict" and not node.args:
        return _mapping(node.keywords)
    if isinstance(node, ast.UnaryOp):
        return _OPERATORS[type(node.op)](_number(node.operand))
    if isinstance(node, ast.BinOp):
        return _OPERATORS[type(node.op)](_number(node.left), _number(node.right))
    raise ValueError("not a literal")


def _mapping(keywords: list[ast.keyword]) -> dict[str, Any]:
    values = {keyword.arg: _value(keyword.value) for keyword in keywords}
    if None in values or len(values) < len(keywords):
        raise ValueError("** in a call, or a key twice")
    return values


def _number(node: ast.AST) -> int | float:
    value = _value(node)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError("not a number")
    return value
