"""How long a file and a function may be. A file that needs more is two files; a limit is never raised for one."""

import ast
from pathlib import Path

import pytest
from tests.support.source import files_of_tests, functions, product_files, shown, tree_of

FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 60

ALL_FILES = [*product_files().values(), *files_of_tests()]


@pytest.mark.parametrize("path", ALL_FILES, ids=shown)
def test_a_file_is_not_too_long(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= FILE_LINES_MAX


@pytest.mark.parametrize("path", ALL_FILES, ids=shown)
def test_functions_are_not_too_long(path: Path) -> None:
    too_long = {
        function.name: lines
        for function in functions(tree_of(path))
        if (lines := (function.end_lineno or 0) - function.lineno + 1) > FUNCTION_LINES_MAX
    }
    assert too_long == {}


@pytest.mark.parametrize("path", [p for p in product_files().values() if p.name != "__init__.py"], ids=shown)
def test_a_file_says_at_its_head_what_it_is_for(path: Path) -> None:
    docstring = ast.get_docstring(tree_of(path))
    assert docstring, "no docstring at the head"
    assert len(docstring) >= 10
