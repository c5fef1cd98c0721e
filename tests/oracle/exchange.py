"""The vocabulary of the catalogue: what an exchange with a Kafka broker is, as plain data.

An exchange is a named list of steps on one or more connections. Requests are nested dicts in snake_case of Kafka's
field names; fields left out take the schema default. Values that differ from run to run are placeholders:

- a string that begins with `@` is the name of a topic of this exchange alone, made unique for the run;
- `Saved(name)` is a value that an earlier step took out of its answer; `topic_id(name)` is one that `create` saved;
- `Now(delta_ms)` is a moment relative to the start of the exchange; `NODE` is the broker's node id.

Rules: nothing here talks to a broker (`runner.py` does) and nothing knows what the answer should be: Kafka says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Union


@dataclass(frozen=True)
class Saved:
    """A value saved under this name by an earlier step."""

    name: str
    plus: int = 0


def topic_id(topic: str) -> Saved:
    """The id of a topic made by `create` in this exchange; `topic` with its `@`."""
    return Saved(f"id {topic}")


@dataclass(frozen=True)
class Now:
    """The wall clock at the start of the exchange plus `delta_ms`. Keep deltas a minute away from 0 and each other:
    answers within seconds of the start are shown as the broker's own clock."""

    delta_ms: int


@dataclass(frozen=True)
class Node:
    """The node id of the broker, as a number, or as a string where a resource is named by it."""

    as_text: bool = False


@dataclass(frozen=True)
class Padded:
    """A topic name of this exchange, padded with `x` to exactly `length` characters."""

    name: str
    length: int


NODE: Final = Node()
NODE_NAME: Final = Node(as_text=True)


@dataclass(frozen=True)
class Call:
    """One request of a known API and its answer.

    `save` maps a name to the path of a value in the decoded answer ("topics.0.topic_id"). `until` maps paths to
    values: the request is repeated until all hold (metadata spreads asynchronously). A `hidden` answer is not
    recorded. `own` keeps only topics of this exchange in the answer. With `wait=False` the request is sent and an
    `Await` on the same connection takes its answer. `timed_ms` records whether the answer took at least that long;
    `probe` records whether there was an answer at all, by a second request behind it.

    For bad frames: `claim_version` is written into the header while the body is of `version`; `answer_version` is
    how to read the answer; `cut` takes bytes off the end of the frame, `extra` puts bytes there, `patch` overwrites
    bytes at positions counted from the start of the body (negative: from its end). The frame's size is set to fit.
    """

    api: str
    version: int
    fields: Mapping[str, Any] = field(default_factory=dict)
    on: str = "a"
    client_id: str | None = "oracle"
    save: Mapping[str, str] = field(default_factory=dict)
    until: Mapping[str, Any] = field(default_factory=dict)
    hidden: bool = False
    own: bool = False
    wait: bool = True
    timed_ms: int | None = None
    probe: bool = False
    claim_version: int | None = None
    answer_version: int | None = None
    cut: int = 0
    extra: bytes = b""
    patch: tuple[tuple[int, bytes], ...] = ()


@dataclass(frozen=True)
class Raw:
    """Bytes sent as they are, after which the broker is expected to say something unreadable, or to close."""

    data: bytes
    on: str = "a"
    what: str = "bytes"


@dataclass(frozen=True)
class Await:
    """Takes the answer of the oldest request still waiting on a connection."""

    on: str = "a"


@dataclass(frozen=True)
class Hangup:
    """Closes a connection from our side; the next step on it opens a new one."""

    on: str = "a"


Step = Call | Raw | Await | Hangup


@dataclass(frozen=True)
class Exchange:
    """`name` is the test id: "fetch-session-wrong-epoch". Names are unique over the catalogue."""

    name: str
    steps: tuple[Step, ...]


Steps = Union[Step, Sequence["Steps"]]  # noqa: UP007 - a name that is a string takes no `|`
"""A step, or steps that belong together, to any depth."""


def exchange(name: str, *steps: Steps) -> Exchange:
    return Exchange(name, tuple(_flat(steps)))


def _flat(steps: Sequence[Steps]) -> Iterator[Step]:
    for step in steps:
        if isinstance(step, Sequence):
            yield from _flat(step)
        else:
            yield step
