"""What the code may not do, each with what to do instead. Ruff bans some by name; here is what it cannot see."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from tests.support.source import (
    dotted_name,
    files_of_tests,
    imported_modules,
    product_files,
    shown,
    tree_of,
)

SERVER = {name: path for name, path in product_files().items() if name.startswith("pybroker_server.")}
CORE = {
    name: path
    for name, path in SERVER.items()
    if not name.startswith(("pybroker_server.runtime", "pybroker_server.cli"))
}

OUTSIDE_WORLD = {
    "time": "runtime.clock, or a `now_ms` that is handed in",
    "random": "runtime.entropy",
    "secrets": "runtime.entropy",
    "threading": "runtime's Blocking",
    "concurrent.futures": "runtime's Blocking",
    "multiprocessing": "a second broker (design D10)",
    "subprocess": "nothing: the broker starts no process",
    "shutil": "runtime's Disk",
    "tempfile": "runtime's Disk",
    "pickle": "msgpack: pickle runs what it reads",
    "logging": "telemetry.events",
}
OS_CALLS = re.compile(
    r"os\.(open|read|write|pread\w*|pwrite\w*|remove|unlink|rename|replace|mkdir|makedirs|rmdir|listdir|scandir|stat"
    r"|fsync|fdatasync|truncate|ftruncate|urandom|fork|system|popen)"
)
SERVER_TOOLS = {
    "pybroker_server.handlers.document",
    "pybroker_server.config.document",
    "pybroker_server.admin.document",
}
"""Generators of documentation: they are run by hand and write what they make."""

BROAD_EXCEPT_ALLOWED = {
    "pybroker_server.runtime.tasks",
    "pybroker_server.runtime.blocking_threads",
    "pybroker_server.network.dispatcher",
    "pybroker.pipeline",
    "pybroker.record",
    "pybroker.stream",
}
"""The places that catch everything: a task's owner, a worker thread, the last resort of a request, and what the
application hands to the SDK: its codecs, whose errors are told with the record that they failed on, and its handlers,
whose records are tried again or become dead letters."""

PURE = (
    "pybroker_protocol.",
    "pybroker_server.config.",
    "pybroker_server.replica.partition_state",
    "pybroker_server.replica.purgatory",
    "pybroker_server.replica.fetch_session",
    "pybroker_server.controller.brokers",
    "pybroker_server.controller.elections",
    "pybroker_server.controller.partition_requests",
    "pybroker_server.controller.placement",
    "pybroker_server.controller.reassignments",
    "pybroker_server.controller.settling",
    "pybroker_server.metadata.delta",
    "pybroker_server.metadata.image",
    "pybroker_server.metadata.keys",
    "pybroker_server.network.advertise",
    "pybroker_server.network.limits",
    "pybroker_server.network.refusal",
    "pybroker_server.log.log_config",
)
"""Modules that take state, an event and the time, and return effects (design D9)."""
PURE_EXCEPT = {"pybroker_protocol.schema.stubs"}
PURE_MAY_NOT_IMPORT = {"asyncio", "socket", "select", "uvloop", "aiohttp", *OUTSIDE_WORLD}


@pytest.mark.parametrize("module", sorted(CORE), ids=str)
def test_the_outside_world_is_reached_through_the_runtime_only(module: str) -> None:
    if module in SERVER_TOOLS:
        pytest.skip("a generator of documentation")
    tree = tree_of(CORE[module])
    used = {name: OUTSIDE_WORLD[name] for name in imported_modules(tree) & set(OUTSIDE_WORLD)}
    calls = [dotted_name(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    used |= {call: "runtime's Disk" for call in calls if OS_CALLS.fullmatch(call) or call in ("open", "io.open")}
    used |= {call: "telemetry.events" for call in calls if call == "print"}
    assert used == {}, "use instead what is named"


@pytest.mark.parametrize(
    "module", sorted(name for name in product_files() if name.startswith(PURE) and name not in PURE_EXCEPT), ids=str
)
def test_pure_modules_import_nothing_that_acts(module: str) -> None:
    imported = imported_modules(tree_of(product_files()[module]))
    assert imported & PURE_MAY_NOT_IMPORT == set()


def test_every_pure_module_that_is_named_exists() -> None:
    missing = [name for name in PURE if not any(module.startswith(name) for module in product_files())]
    assert missing == []


@pytest.mark.parametrize("module", sorted(product_files()), ids=str)
def test_nothing_catches_everything_but_the_few_places_made_for_it(module: str) -> None:
    broad = [
        node.lineno
        for node in ast.walk(tree_of(product_files()[module]))
        if isinstance(node, ast.ExceptHandler) and _is_broad(node)
    ]
    assert broad == [] or module in BROAD_EXCEPT_ALLOWED


@pytest.mark.parametrize("path", [*product_files().values(), *files_of_tests()], ids=shown)
def test_no_task_is_left_for_later_and_no_path_of_one_machine(path: Path) -> None:
    words = ("TO" + "DO", "FIX" + "ME", "XX" + "X ", "HA" + "CK", "/ro" + "ot/", "/ho" + "me/", "/wo" + "rk/")
    text = path.read_text()
    assert [word for word in words if word in text] == []


@pytest.mark.parametrize("path", [p for p in files_of_tests() if "unit" in p.parts], ids=shown)
def test_unit_tests_do_not_sleep(path: Path) -> None:
    calls = [dotted_name(node.func) for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)]
    sleeps = [
        call for call in calls if call in ("time.sleep", "asyncio.sleep", "sleep") and not _sleeps_zero(path, call)
    ]
    assert sleeps == []


def _sleeps_zero(path: Path, call: str) -> bool:
    """`asyncio.sleep(0)` waits for nothing: it lets others run."""
    nodes = [n for n in ast.walk(tree_of(path)) if isinstance(n, ast.Call) and dotted_name(n.func) == call]
    return all(
        len(node.args) == 1 and isinstance(node.args[0], ast.Constant) and node.args[0].value == 0 for node in nodes
    )


def _is_broad(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    types = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    names = {dotted_name(each) for each in types}
    # Catching everything to clean up, and raising it on, swallows nothing.
    raises_on = any(isinstance(node, ast.Raise) and node.exc is None for node in ast.walk(handler))
    return bool(names & {"Exception", "BaseException"}) and not raises_on
