"""The message classes: `from pybroker_protocol.messages import FetchRequest, FetchResponse`.

A class is made from its declaration when it is first asked for; `messages.pyi` tells type checkers what they
will be (`python -m pybroker_protocol.schema.stubs` writes it). Where a declaration lies follows from the name
alone: `FetchRequest` and `FetchResponse` are REQUEST and RESPONSE in `api/fetch.py`, `OffsetCommitKey` and
`OffsetCommitValue` are KEY and VALUE in `stored/offset_commit.py`, and `EndTxnMarker` is DATA in
`stored/end_txn_marker.py`.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from typing import Any, Final

import pybroker_protocol.api
import pybroker_protocol.stored
from pybroker_protocol.schema.classes import Message, make_class
from pybroker_protocol.schema.notation import parse

_SIDES: Final = {
    "Request": ("api", "REQUEST"),
    "Response": ("api", "RESPONSE"),
    "Key": ("stored", "KEY"),
    "Value": ("stored", "VALUE"),
}
_NAME: Final = re.compile(rf"([A-Z]\w*?)({'|'.join(_SIDES)})?")
_WORD_START: Final = re.compile(r"(?<!^)(?=[A-Z])")


def __getattr__(name: str) -> Any:
    match = _NAME.fullmatch(name)
    if match is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    made = _make(name, match[1], match[2])
    globals()[name] = made
    return made


def _make(name: str, stem: str, side: str | None) -> type[Message]:
    folder, variable = _SIDES[side] if side else ("stored", "DATA")
    module_name = f"pybroker_protocol.{folder}.{_WORD_START.sub('_', stem).lower()}"
    try:
        module = importlib.import_module(module_name)
        declaration = getattr(module, variable)
    except (ModuleNotFoundError, AttributeError):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    schema = parse(declaration)
    assert schema.name == name, f"{module_name} declares {schema.name} as {name}"
    return make_class(schema)


def message_names() -> list[str]:
    """The names of all messages and stored records, sorted. Imports every declaration: for tools, tests."""
    names = []
    for package in (pybroker_protocol.api, pybroker_protocol.stored):
        for found in pkgutil.iter_modules(package.__path__):
            module = importlib.import_module(f"{package.__name__}.{found.name}")
            declarations = (getattr(module, variable, None) for variable in _VARIABLES)
            names += [text.split(maxsplit=1)[0] for text in declarations if text is not None]
    return sorted(names)


_VARIABLES: Final = ("REQUEST", "RESPONSE", "KEY", "VALUE", "DATA")
