"""Every regular expression of this project, and how each is used: found by reading the source, then by importing it."""

import ast
import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
#: The folders that hold our code, and the folder that a module of each is named from.
_FOLDERS: Final = {"mushu": ".", "plugins": "plugins", "script": ".", "bench": ".", "migrations": "."}
#: How a pattern is asked.
METHODS: Final = frozenset({"match", "search", "fullmatch", "findall", "finditer", "sub", "subn", "split"})
#: What else of `re` needs no pattern.
_HARMLESS: Final = frozenset({"compile", "escape", "Pattern", "Match", "IGNORECASE", "DOTALL", "MULTILINE", "ASCII"})
#: In a page of the documentation, at the end of a line.
_IN_PAGE: Final = "re.compile("

AnyPattern = re.Pattern[Any]


@dataclass(frozen=True)
class Use:
    """One pattern, asked in one way."""

    where: str
    pattern: AnyPattern
    method: str

    def __str__(self) -> str:
        return f"{self.where}.{self.method}"


def sources() -> Iterator[tuple[str, Path]]:
    """Yield the name and the file of each of our modules."""
    for folder, base in _FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / base).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def uncollected(source: str) -> list[str]:
    """Return in which lines a pattern is used that nobody can collect: inline, or made while a function runs."""
    tree = ast.parse(source)
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for node in ast.walk(function)
    }
    found = [
        f"line {node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(tree)
        if isinstance(node, ast.stmt | ast.expr) and _is_fault(node, inside)
    ]
    return sorted(found)


def uses() -> list[Use]:
    """Return every pattern of ours with every way in which it is asked."""
    found: dict[tuple[AnyPattern, str], Use] = {}
    patterns: dict[AnyPattern, str] = {}
    for name, path in sources():
        tree = ast.parse(path.read_text("utf-8"))
        asked = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr in METHODS]
        if not asked and not _imports_re(tree):
            continue
        module = importlib.import_module(name)
        patterns |= {pattern: f"{name}.{word}" for word, pattern in _patterns_of(module)}
        for node in asked:
            pattern = _resolved(module, node.value)
            if isinstance(pattern, re.Pattern):
                where = f"{name}:{ast.unparse(node.value)}"
                found.setdefault((pattern, node.attr), Use(where, pattern, node.attr))
    unused = [name for pattern, name in patterns.items() if pattern not in {use.pattern for use in found.values()}]
    assert not unused, f"nobody sees how these are asked: {unused}"
    return list(found.values()) + list(_documented())


def _documented() -> Iterator[Use]:
    """Yield the patterns that the documentation shows, which plugins will copy."""
    for path in sorted((ROOT / "docs").rglob("*.md")):
        for line in path.read_text("utf-8").splitlines():
            _, begin, rest = line.partition(_IN_PAGE)
            if begin:
                pattern = eval(f"{_IN_PAGE}{rest}", {"re": re})
                yield Use(f"{path.name}:{line.strip().partition(' ')[0]}", pattern, "fullmatch")


def _is_fault(node: ast.AST, inside: set[int]) -> bool:
    if isinstance(node, ast.ImportFrom):
        return node.module in ("re", "regex")
    if isinstance(node, ast.Import):
        return any(name.name == "regex" or (name.name == "re" and name.asname) for name in node.names)
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "re":
        return node.attr not in _HARMLESS or (node.attr == "compile" and id(node) in inside)
    return False


def _imports_re(tree: ast.Module) -> bool:
    return any(
        isinstance(node, ast.Import) and any(name.name == "re" for name in node.names) for node in ast.walk(tree)
    )


def _patterns_of(module: ModuleType) -> Iterator[tuple[str, AnyPattern]]:
    """Yield the patterns of a module, those in its classes and collections included."""
    values = list(vars(module).items())
    for kind in [value for _, value in values if isinstance(value, type) and value.__module__ == module.__name__]:
        values += [(f"{kind.__name__}.{name}", value) for name, value in vars(kind).items()]
    for name, value in values:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple | set) else ()
        for item in (value, *inner):
            if isinstance(item, re.Pattern):
                yield name, item


def _resolved(module: ModuleType, node: ast.expr) -> object:
    """Return what a name, or a name in a module, stands for."""
    if isinstance(node, ast.Name):
        return vars(module).get(node.id)
    if isinstance(node, ast.Attribute):
        return getattr(_resolved(module, node.value), node.attr, None)
    return None
