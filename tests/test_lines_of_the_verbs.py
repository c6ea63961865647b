"""CONTRIBUTING.md draws how a verb goes, and the code goes like that: each function on a line calls the next."""

import ast
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest

_ROOT: Final = Path(__file__).resolve().parents[1]
_LINE: Final = re.compile(r"^(\w+), (HTTP|command) +(\S+(?: → \S+)+)$", re.MULTILINE)
#: Verbs, and the doors that each of them has.
_DOORS: Final = {"issue": {"HTTP", "command"}, "rotate": {"HTTP", "command"}, "delete": {"HTTP", "command"}}
_MOST_MODULES: Final = 4


def _lines() -> list[tuple[str, str, list[str]]]:
    text = (_ROOT / "CONTRIBUTING.md").read_text()
    return [(verb, door, line.split(" → ")) for verb, door, line in _LINE.findall(text)]


def _module_of(function: str) -> tuple[Path, list[str]]:
    """Return the file of a function, and its names within: that of its class, where it has one, and its own."""
    parts = function.split(".")
    for split in range(len(parts) - 1, 0, -1):
        file = _ROOT / "mushu" / "server" / Path(*parts[:split]).with_suffix(".py")
        if file.is_file():
            return file, parts[split:]
    raise AssertionError(f"{function} is in no module")


def _body_of(function: str) -> tuple[ast.Module, ast.FunctionDef]:
    file, names = _module_of(function)
    module = ast.parse(file.read_text())
    found: ast.Module | ast.ClassDef | ast.FunctionDef = module
    for name in names:
        kinds = (ast.ClassDef, ast.FunctionDef)
        found = next(node for node in found.body if isinstance(node, kinds) and node.name == name)
    assert isinstance(found, ast.FunctionDef)
    return module, found


def _called(function: str) -> Iterator[str]:
    """Return the names of what a function calls, and what the functions of its own module call that it calls."""
    module, body = _body_of(function)
    own = {node.name: node for node in ast.walk(module) if isinstance(node, ast.FunctionDef)}
    waiting, seen = [body], {body.name}
    while waiting:
        for node in ast.walk(waiting.pop()):
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                yield name
                if name in own and name not in seen:
                    seen.add(name)
                    waiting.append(own[name])


def _imported(function: str) -> set[str]:
    """Return the modules of the server that the module of a function imports from."""
    module, _ = _body_of(function)
    return {
        str(node.module).removeprefix("mushu.server.")
        for node in ast.walk(module)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("mushu.server.")
    }


def test_every_verb_is_drawn_from_each_of_its_doors() -> None:
    drawn: dict[str, set[str]] = {}
    for verb, door, _ in _lines():
        drawn.setdefault(verb, set()).add(door)
    assert drawn == _DOORS | {"confirm": {"HTTP"}}


@pytest.mark.parametrize(("verb", "door", "functions"), _lines())
def test_each_function_on_the_line_calls_the_next(verb: str, door: str, functions: list[str]) -> None:
    for caller, callee in pairwise(functions):
        assert callee.rpartition(".")[2] in set(_called(caller)), f"{verb}, {door}: {caller} does not call {callee}"


@pytest.mark.parametrize(("verb", "door", "functions"), _lines())
def test_few_modules_own_the_control_flow_and_the_verb_is_called_from_its_own(
    verb: str, door: str, functions: list[str]
) -> None:
    assert len({_module_of(function)[0] for function in functions}) <= _MOST_MODULES
    assert f"lifecycle.{verb}" in _imported(functions[0])
    assert functions[1] == f"lifecycle.{verb}.{verb}"
