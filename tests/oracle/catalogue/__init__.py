"""Every exchange, in parts; a part is a module here and a file of recorded answers."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Final

from tests.oracle.exchange import Exchange


def _load() -> dict[str, tuple[Exchange, ...]]:
    parts: dict[str, tuple[Exchange, ...]] = {}
    names: set[str] = set()
    for module in sorted(found.name for found in pkgutil.iter_modules(__path__)):
        exchanges: tuple[Exchange, ...] = importlib.import_module(f"{__name__}.{module}").EXCHANGES
        for exchange in exchanges:
            assert exchange.name not in names, f"two exchanges are called {exchange.name}"
            names.add(exchange.name)
        parts[module] = exchanges
    return parts


PARTS: Final = _load()
