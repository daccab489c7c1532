"""The house that the code lives in: small files, short functions, and imports that go one way."""

import ast
from collections.abc import Iterator
from pathlib import Path

import networkx
import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted([*(ROOT / "recorder").rglob("*.py"), *(ROOT / "exporters").rglob("*.py")])
LONGEST_FILE = 400
LONGEST_FUNCTION = 60
MOST_FILES = 12


def lines(text: str) -> int:
    return len(text.splitlines())


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Its lines, without those of its docstring and of its decorators."""
    assert function.end_lineno is not None
    whole = function.end_lineno - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function, clean=False) is None:
        return whole
    assert first.end_lineno is not None
    return whole - (first.end_lineno - first.lineno + 1)


def module_name(path: Path, root: Path = ROOT) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(tree: ast.AST, known: set[str]) -> Iterator[str]:
    """Every module that a file imports, inside functions too, but for what only type checkers do. Of a name in a
    package, the module of that name if there is one, and else the package.
    """
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports have whole names here"
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in known else str(node.module) for name in inside)
        yield from imported(node, known)


def imports(sources: dict[str, str], face: str) -> "networkx.DiGraph[str]":
    """Who imports whom, among these modules. The face may be asked by everybody."""
    graph: networkx.DiGraph[str] = networkx.DiGraph()
    for name, source in sources.items():
        graph.add_edges_from((name, other) for other in imported(ast.parse(source), set(sources)))
    return graph.subgraph(set(sources) - {face}).copy()


def circles(graph: "networkx.DiGraph[str]") -> list[set[str]]:
    """The modules that import each other, directly or not, by groups."""
    return [group for group in networkx.strongly_connected_components(graph) if len(group) > 1]


def test_there_is_something_to_look_at() -> None:
    assert len(FILES) > 80


def test_no_file_is_long() -> None:
    long = {str(path.relative_to(ROOT)) for path in FILES if lines(path.read_text("utf-8")) > LONGEST_FILE}
    assert long == set()


def test_no_function_is_long() -> None:
    long = {
        f"{path.relative_to(ROOT)}: {function.name}"
        for path in FILES
        for function in functions(ast.parse(path.read_text("utf-8")))
        if length(function) > LONGEST_FUNCTION
    }
    assert long == set()


def test_few_files_lie_in_recorder_itself() -> None:
    assert len(list((ROOT / "recorder").glob("*.py"))) <= MOST_FILES


def test_imports_go_one_way() -> None:
    sources = {module_name(path): path.read_text("utf-8") for path in (ROOT / "recorder").rglob("*.py")}
    graph = imports(sources, face="recorder")
    assert circles(graph) == []


# That these tests see what they look for


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f(): pass", 1),
        ("@d\n@e(\n1)\ndef f(\n    x,\n):\n    return x", 4),
        ('def f():\n    """One.\n\n    Two.\n    """\n    return 1', 2),
        ("async def f():\n    a = 1\n\n    return a", 4),
    ],
)
def test_the_length_of_a_function(source: str, expected: int) -> None:
    (function,) = functions(ast.parse(source))
    assert length(function) == expected


@pytest.mark.parametrize(
    ("b", "found"),
    [
        ("import p.a", "ab"),
        ("from p import a", "ab"),
        ("from p.a import thing", "ab"),
        ("def f():\n    if 1:\n        from p.a import thing", "ab"),
        ("class C:\n    from p.c import thing", "abc"),
        ("from p import thing", ""),
        ("if TYPE_CHECKING:\n    from p.a import thing", ""),
        ("import typing\nif typing.TYPE_CHECKING:\n    from p.a import thing", ""),
        ("import p.d", ""),
    ],
)
def test_circles_are_seen(b: str, found: str) -> None:
    sources = {"p": "from p.a import thing", "p.a": "def f(): import p.b", "p.b": b, "p.c": "import p.a", "p.d": ""}
    assert circles(imports(sources, face="p")) == ([{f"p.{letter}" for letter in found}] if found else [])
