"""House rule: a long file or function says why it is long, or becomes two."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
LONG_FILE, LONG_FUNCTION = 300, 40
REASON = "long because"
SOURCES = sorted([*ROOT.glob("functions/**/*.py"), *ROOT.glob("kn_model/**/*.py"), *ROOT.glob("tests/**/*.py")])


def test_length_has_a_reason() -> None:
    """Past 300 lines a file, past 40 a function, has the words `long because` and then the reason."""
    assert [] == [f"{path.relative_to(ROOT)}: {what}" for path in SOURCES for what in too_long(path)]


def too_long(path: Path) -> list[str]:
    """The functions of a file, and the file itself, that are long without a word about it."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = [
        node.name
        for node in functions
        if (node.end_lineno or 0) - node.lineno >= LONG_FUNCTION
        and REASON not in "\n".join(lines[node.lineno - 2 : node.end_lineno])
    ]
    return [*(["the file"] if len(lines) > LONG_FILE and REASON not in text else []), *long]
