"""Who imports whom: the contracts of pyproject.toml hold, and no module is left that nobody uses."""

from __future__ import annotations

import ast
import os
import subprocess
import sys

import pytest
from tests.support.source import PACKAGES, ROOT, dotted_name, imported_modules, product_files, tree_of


def test_the_import_contracts_hold() -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(str(folder.parent) for folder in PACKAGES.values())}
    script = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports())"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _is_entry(module: str) -> bool:
    """Started by name, or found by a registry that looks into its package."""
    from pybroker_server.cli.main import COMMANDS

    commands = {f"pybroker_server.cli.{where.partition(':')[0]}" for where, _ in COMMANDS.values()}
    return (
        module in commands
        or module in PACKAGES
        or module == "pybroker_server.cli.main"
        or module.endswith(".__main__")
        or module.startswith(("pybroker_server.handlers.", "pybroker_protocol.api.", "pybroker_protocol.stored."))
        or '__name__ == "__main__"' in product_files()[module].read_text()
    )


def _used_by_others() -> set[str]:
    used: set[str] = set()
    for module, path in product_files().items():
        tree = tree_of(path)
        names = imported_modules(tree)
        for node in ast.walk(tree):
            # import_module("a.b") names a module too.
            if isinstance(node, ast.Call) and dotted_name(node.func).endswith("import_module"):
                names |= {
                    arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)
                }
        used |= names - {module}
    return used


def test_every_module_is_used() -> None:
    used = _used_by_others()
    packages = {name for name, path in product_files().items() if path.name == "__init__.py"}
    dead = [name for name in product_files() if name not in used | packages and not _is_entry(name)]
    assert dead == []


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_typed_packages_say_so(package: str) -> None:
    if package in ("pybroker", "pybroker_protocol"):
        assert (PACKAGES[package] / "py.typed").exists()
