"""What is generated from the code, or listed beside it, says what the code says."""

from __future__ import annotations

import ast
from dataclasses import fields

from tests.support.source import ROOT, product_files, tree_of

from pybroker_server.admin import document as observability
from pybroker_server.config import document as configuration
from pybroker_server.config.views import BrokerConfig
from pybroker_server.handlers import document as protocol
from pybroker_server.telemetry.events import EVENTS

LOG_METHODS = {"debug", "info", "warning", "error", "exception"}


def test_the_configuration_page_is_fresh() -> None:
    assert (ROOT / "docs" / "configuration.md").read_text() == configuration.page(), "run `make docs`"


def test_the_protocol_page_is_fresh() -> None:
    assert (ROOT / "docs" / "protocol.md").read_text() == protocol.page(), "run `make docs`"


def test_the_observability_page_is_fresh() -> None:
    assert (ROOT / "docs" / "observability.md").read_text() == observability.page(), "run `make docs`"


def _logged_events() -> dict[str, str]:
    found = {}
    for module, path in product_files().items():
        if not module.startswith("pybroker_server."):
            continue
        for node in ast.walk(tree_of(path)):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in LOG_METHODS
                and ast.unparse(node.func.value).split(".")[-1] in ("_log", "log", "logger", "_logger")
                and node.args
                and isinstance(node.args[0], ast.Constant)
            ):
                found[str(node.args[0].value)] = module
    return found


def test_every_event_that_is_logged_is_listed_and_every_listed_one_is_logged() -> None:
    logged = _logged_events()
    assert {name: where for name, where in logged.items() if name not in EVENTS} == {}
    assert set(EVENTS) - set(logged) == set()


def test_every_attribute_of_the_configuration_is_read_by_some_part() -> None:
    """A setting that nothing reads would be shown as having an effect."""
    read: set[str] = set()
    for module, path in product_files().items():
        if module.startswith("pybroker_server.") and module != "pybroker_server.config.views":
            read |= {node.attr for node in ast.walk(tree_of(path)) if isinstance(node, ast.Attribute)}
    assert {field.name for field in fields(BrokerConfig)} - read == set()
