"""The recorded answers: one JSON file per part of the catalogue, laid out so that a change shows as a short diff.

A value goes on one line where it fits, else every member gets its own. Keys are sorted where they are names of things
(configs, API keys) and else stay in wire order.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).with_name("recorded")
_WIDTH: Final = 170


def load(part: str) -> dict[str, Any]:
    """The answers of one part by exchange name. Raises FileNotFoundError when it was never recorded."""
    answers: dict[str, Any] = json.loads((FOLDER / f"{part}.json").read_text())
    return answers


def save(part: str, answers: dict[str, Any]) -> None:
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{part}.json").write_text(layout(answers) + "\n")


def layout(value: Any, indent: int = 0) -> str:
    flat = json.dumps(value, ensure_ascii=False)
    if len(flat) + indent <= _WIDTH or not isinstance(value, (dict, list)) or not value:
        return flat
    inner = " " * (indent + 1)
    if isinstance(value, dict):
        members = [
            f"{json.dumps(key, ensure_ascii=False)}: {layout(member, indent + 1)}" for key, member in value.items()
        ]
        opening, closing = "{}"
    else:
        members = [layout(member, indent + 1) for member in value]
        opening, closing = "[]"
    joined = f",\n{inner}".join(members)
    return f"{opening}\n{inner}{joined}\n{' ' * indent}{closing}"
