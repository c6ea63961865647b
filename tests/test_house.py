"""House rules that can be counted: sizes, importers, docstrings, class names, and how long the tests are.

The limits are ratchets: they fail when a number gets worse, and become stricter when it gets better.
"""

import ast
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from statistics import median

import pytest

pytestmark = pytest.mark.unmeasured

ROOT = Path(__file__).resolve().parents[1]
#: What script/generate-sdk writes, and nobody edits.
GENERATED = {ROOT / "mushu" / package for package in ("core", "notify", "media")}

LINES_OF_A_MODULE = 300
MEDIAN_OF_LINES = 130
MODULES = 332
#: Of all modules, those that one other module imports.
SHARE_WITH_ONE_IMPORTER = 0.25
MODULES_WITHOUT_DOCSTRING = 0
SHARED_CLASS_NAMES = 0
#: Statements of a view, without its docstring: it parses, calls one function of a domain or a verb, and answers.
LINES_OF_A_VIEW = 15
VIEW_MARKS = (
    "public", "in_browser", "signed_in", "operator_only", "about_keys", "requires", "org_page", "server_page",
)  # fmt: skip
#: What a test imports that does two things at the same moment, and what it does them with.
AT_ONCE = ("threading", "concurrent", "multiprocessing", "mushu.testing.processes", "tests.server.orgs.racing")
DATABASE = ("sqlalchemy", "mushu.server.core", "mushu.server.db")
MIGRATIONS = ("alembic", "flask_migrate", "mushu.server.operation.upgrading")
#: Where code is, and how its files end; a script has no ending.
CODE = ("mushu", "plugins", "migrations", "script", "bench", "deploy", ".ci")
WRITTEN = {"", ".py", ".html", ".css", ".jinja", ".mako", ".service", ".timer", ".go", ".sql", ".js"}
#: Lines of tests for each line of code.
TESTS_TO_CODE = 1.42


@cache
def modules() -> dict[str, Path]:
    """Return the modules that people write, by their dotted names."""
    found = {}
    for base, folder in ((ROOT, ROOT / "mushu"), (ROOT / "plugins", ROOT / "plugins")):
        for path in folder.rglob("*.py"):
            if not GENERATED & {*path.parents}:
                parts = path.relative_to(base).with_suffix("").parts
                found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imported_by(name: str, path: Path) -> Iterator[str]:
    """Name what a module imports, also inside functions and for types only."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = name if path.name == "__init__.py" else name.rpartition(".")[0]
            above = package.rsplit(".", node.level - 1)[0] + "." if node.level else ""
            source = (above + (node.module or "")).rstrip(".")
            yield from (inner if (inner := f"{source}.{alias.name}") in modules() else source for alias in node.names)


def lines(paths: Iterator[Path]) -> dict[str, int]:
    return {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in paths}


def listed(found: list[str]) -> str:
    return "\n".join(["", *sorted(found)])


def test_no_module_has_outgrown_its_size_and_half_of_them_are_small() -> None:
    sizes = lines(iter(modules().values()))
    assert not {path: size for path, size in sizes.items() if size > LINES_OF_A_MODULE}
    assert median(sizes.values()) <= MEDIAN_OF_LINES


def test_there_are_no_more_modules_than_a_reader_can_know() -> None:
    folders = Counter(str(path.parent.relative_to(ROOT)) for path in modules().values())
    assert len(modules()) <= MODULES, listed([f"{count:4} {folder}" for folder, count in folders.items()])


def test_few_modules_are_fragments_of_the_one_that_imports_them() -> None:
    importers = defaultdict(set)
    for name, path in modules().items():
        for imported in imported_by(name, path):
            importers[imported].add(name)
    single = [f"{name} ← {min(importers[name])}" for name in modules() if len(importers[name] - {name}) == 1]
    assert len(single) <= SHARE_WITH_ONE_IMPORTER * len(modules()), listed(single)


def test_every_module_says_what_it_is_for() -> None:
    silent = [name for name, path in modules().items() if not ast.get_docstring(tree_of(path))]
    assert len(silent) <= MODULES_WITHOUT_DOCSTRING, listed(silent)


def test_a_class_name_stands_for_one_thing() -> None:
    places = defaultdict(list)
    for name, path in modules().items():
        for node in tree_of(path).body:
            if isinstance(node, ast.ClassDef):
                places[node.name.lstrip("_")].append(name)
    shared = [f"{name}: {', '.join(found)}" for name, found in places.items() if len(found) > 1]
    assert len(shared) <= SHARED_CLASS_NAMES, listed(shared)


def test_no_view_imports_another_view() -> None:
    """What several views answer or take is in modules of models, so that no view is a library for others."""
    package = "mushu.server.web.api"
    shared = {package, f"{package}.models", f"{package}.key_models", f"{package}.key_list_models"}
    found = [
        f"{name} → {imported}"
        for name, path in modules().items()
        if name.startswith(f"{package}.")
        for imported in {*imported_by(name, path)} - {name} - shared
        if imported.startswith(f"{package}.")
    ]
    assert not found, listed(found)


def test_a_view_is_short() -> None:
    views = [
        (f"{name}.{node.name}", node)
        for name, path in modules().items()
        if name.startswith("mushu.server.web.")
        for node in tree_of(path).body
        if isinstance(node, ast.FunctionDef) and is_view(node)
    ]
    assert len(views) > 60, "the marks of the guard are known"
    sizes = {name: node.end_lineno - first_statement(node).lineno + 1 for name, node in views if node.end_lineno}
    long = [f"{size:4} {name}" for name, size in sizes.items() if size > LINES_OF_A_VIEW]
    assert not long, listed(long)


def is_view(function: ast.FunctionDef) -> bool:
    marks = (mark.func if isinstance(mark, ast.Call) else mark for mark in function.decorator_list)
    return any(isinstance(mark, ast.Name) and mark.id in VIEW_MARKS for mark in marks)


def first_statement(function: ast.FunctionDef) -> ast.stmt:
    return function.body[1 if ast.get_docstring(function) and len(function.body) > 1 else 0]


def test_tests_are_not_much_longer_than_what_they_prove() -> None:
    code = lines(path for folder in CODE for path in written_by_hand(ROOT / folder))
    tests = lines(written_by_hand(ROOT / "tests"))
    folders: Counter[str] = Counter()
    for path, size in tests.items():
        folders[str(Path(path).parent)] += size
    ratio = sum(tests.values()) / sum(code.values())
    assert ratio <= TESTS_TO_CODE, listed([f"{size:6} {folder}" for folder, size in folders.items()])


def written_by_hand(folder: Path) -> Iterator[Path]:
    """Yield the programs, templates and units in a folder; no pages of text, and nothing that is generated."""
    for path in folder.rglob("*"):
        if (
            path.is_file()
            and path.suffix in WRITTEN
            and not {*path.parents} & {*GENERATED}
            and "__pycache__" not in path.parts
        ):
            yield path


def test_what_races_or_migrates_is_tried_on_both_databases() -> None:
    """Or says that it is about one of them."""
    unmarked = []
    for path in (ROOT / "tests" / "server").rglob("test_*.py"):
        imported = [*imported_by("", path)]

        def uses(wanted: tuple[str, ...], imported: list[str] = imported) -> bool:
            return any(f"{name}.".startswith(f"{one}.") for name in imported for one in wanted)

        if uses(MIGRATIONS) or (uses(AT_ONCE) and uses(DATABASE)):
            source = path.read_text()
            if not any(f"pytest.mark.{mark}" in source for mark in ("database", "sqlite", "postgresql")):
                unmarked.append(str(path.relative_to(ROOT)))
    assert not unmarked, listed([f"{path} lacks pytest.mark.database" for path in unmarked])
