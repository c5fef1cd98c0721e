"""Loss, duplication, reordering and corruption: every record that is read is checked against what was sent.

A reader's side (`Checker`) checks each record's checksum and place, and keeps, for each producer and partition, which
sequence numbers it has seen. The producers' side says which were acknowledged. `judge` compares the two, for each
subscription by itself.

Rules: a record read again at the same offset was *redelivered* (a consumer group may do that after a rebalance); the
same sequence number at another offset is a *duplicate*. A sequence number below one already seen, that was not seen
yet, is *reordered*. A record that was sent but never acknowledged may be there or not: it is counted as *unknown* and
is no fault. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from crc32c import crc32c

from pybroker_bench.payload import STAMP, STAMP_BYTES
from pybroker_bench.ranges import Ranges

Place = tuple[int, int, int]
"""(topic, partition, producer), all as numbers of the run."""


@dataclass(slots=True)
class Verdict:
    """What was found wrong, in records. `is_enabled` False: nothing was looked at."""

    is_enabled: bool = True
    checked: int = 0
    lost: int = 0
    duplicated: int = 0
    reordered: int = 0
    corrupted: int = 0
    misplaced: int = 0
    unsent: int = 0
    aborted_seen: int = 0
    redelivered: int = 0
    unknown: int = 0
    examples: list[str] = field(default_factory=list)

    FAULTS = ("lost", "duplicated", "reordered", "corrupted", "misplaced", "unsent", "aborted_seen")

    @property
    def is_clean(self) -> bool:
        return not any(getattr(self, name) for name in self.FAULTS)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Checker:
    """What one consumer has read."""

    def __init__(self, tag: int) -> None:
        """`tag`: the run's, which the upper half of every producer's number must be."""
        self._tag = tag
        self.seen: dict[Place, Ranges] = {}
        self.checked = 0
        self.duplicated = 0
        self.reordered = 0
        self.corrupted = 0
        self.misplaced = 0
        self.redelivered = 0
        self.examples: list[str] = []
        self._next: dict[Place, int] = {}
        self._position: dict[tuple[int, int], int] = {}

    def check(self, topic: int, partition: int, offsets: Sequence[int], records: Sequence[bytes | None]) -> list[int]:
        """Look at records of one partition in the order they came. The times when those that are new were due."""
        position = self._position.get((topic, partition), -1)
        if offsets[0] <= position:
            again = sum(1 for offset in offsets if offset <= position)
            self.redelivered += again
            offsets, records = offsets[again:], records[again:]
            if not records:
                return []
        self._position[topic, partition] = offsets[-1]
        self.checked += len(records)
        unpack, due_times = STAMP.unpack_from, []
        last, run_from, expected = -1, 0, -1  # a run of one producer's records in sequence, seen but not noted yet
        for index, record in enumerate(records):
            if record is None or len(record) < STAMP_BYTES:
                self._blame("corrupted", topic, partition, offsets[index], "too short for a stamp")
                continue
            crc, in_topic, in_partition, producer, sequence, due = unpack(record)
            if crc32c(record[4:]) != crc:
                self._blame("corrupted", topic, partition, offsets[index], "the checksum does not match")
                continue
            if in_topic != topic or in_partition != partition or producer >> 16 != self._tag:
                self._blame("misplaced", topic, partition, offsets[index], f"made for {in_topic}-{in_partition}")
                continue
            due_times.append(due)
            if producer == last and sequence == expected:
                expected += 1
                continue
            if last >= 0:
                self._note((topic, partition, last), run_from, expected)
            last, run_from, expected = producer, sequence, sequence + 1
        if last >= 0:
            self._note((topic, partition, last), run_from, expected)
        return due_times

    def _note(self, place: Place, first: int, end: int) -> None:
        """A run of records in sequence: those below what was seen before came late, or twice."""
        seen = self.seen.get(place)
        if seen is None:
            seen = self.seen[place] = Ranges()
        twice = seen.add(first, end)
        late = max(0, min(end, self._next.get(place, 0)) - first) - twice
        self._next[place] = max(end, self._next.get(place, 0))
        where = f"topic {place[0]} partition {place[1]}, producer {place[2] & 0xFFFF} from sequence {first} on"
        if twice:
            self.duplicated += twice
            self._example(f"duplicated: {twice} records of {where}")
        if late > 0:
            self.reordered += late
            self._example(f"reordered: {late} records of {where}")

    def _blame(self, fault: str, topic: int, partition: int, offset: int, why: str) -> None:
        setattr(self, fault, getattr(self, fault) + 1)
        self._example(f"{fault}: topic {topic} partition {partition} offset {offset}: {why}")

    def _example(self, text: str) -> None:
        if len(self.examples) < 5:
            self.examples.append(text)

    def to_json(self) -> dict[str, Any]:
        counts = ("checked", "duplicated", "reordered", "corrupted", "misplaced", "redelivered", "examples")
        seen = [[*place, ranges.to_json()] for place, ranges in self.seen.items()]
        return {"seen": seen} | {name: getattr(self, name) for name in counts}


class Account:
    """What producers have sent, by what became of it."""

    def __init__(self) -> None:
        self.acked: dict[Place, Ranges] = {}
        self.unknown: dict[Place, Ranges] = {}
        self.aborted: dict[Place, Ranges] = {}

    def note(self, kind: str, place: Place, first: int, end: int) -> None:
        kept: dict[Place, Ranges] = getattr(self, kind)
        if place not in kept:
            kept[place] = Ranges()
        kept[place].add(first, end)

    def to_json(self) -> dict[str, Any]:
        kinds = {"acked": self.acked, "unknown": self.unknown, "aborted": self.aborted}
        return {
            name: [[*place, ranges.to_json()] for place, ranges in kept.items()] for name, kept in kinds.items() if kept
        }


def places(stored: Iterable[Sequence[Any]]) -> dict[Place, Ranges]:
    """The sets that `to_json` of a checker or an account wrote."""
    found: dict[Place, Ranges] = {}
    for topic, partition, producer, pairs in stored:
        found.setdefault((topic, partition, producer), Ranges()).update(Ranges(pairs))
    return found


def judge(sent: Sequence[Mapping[str, Any]], read: Sequence[Mapping[str, Any]]) -> Verdict:
    """Compare what producers sent with what the consumers of one subscription read, both as their `to_json`."""
    verdict = Verdict()
    seen: dict[Place, Ranges] = {}
    for reader in read:
        for name in ("checked", "duplicated", "reordered", "corrupted", "misplaced", "redelivered"):
            setattr(verdict, name, getattr(verdict, name) + reader[name])
        verdict.examples += reader["examples"]
        for place, ranges in places(reader["seen"]).items():
            verdict.redelivered += seen.setdefault(place, Ranges()).update(ranges)
    kinds = {name: _merged(sent, name) for name in ("acked", "unknown", "aborted")}
    nothing = Ranges()
    for place, ranges in kinds["acked"].items():
        missing = ranges.without(seen.get(place, nothing))
        verdict.lost += len(missing)
        for first, end in list(missing)[:2]:
            verdict.examples.append(
                f"lost: {end - first} records of producer {place[2] & 0xFFFF} in topic {place[0]} partition {place[1]}"
                f" from sequence {first} on"
            )
    for place, ranges in seen.items():
        left = ranges
        for kind in ("acked", "unknown"):
            left = left.without(kinds[kind].get(place, nothing))
        aborted = kinds["aborted"].get(place, nothing)
        unsent = left.without(aborted)
        verdict.unsent += len(unsent)
        verdict.aborted_seen += len(left) - len(unsent)
    verdict.unknown = sum(map(len, kinds["unknown"].values()))
    verdict.examples = verdict.examples[:10]
    return verdict


def _merged(sent: Sequence[Mapping[str, Any]], kind: str) -> dict[Place, Ranges]:
    found: dict[Place, Ranges] = {}
    for account in sent:
        for place, ranges in places(account.get(kind, ())).items():
            found.setdefault(place, Ranges()).update(ranges)
    return found


def total(verdicts: Iterable[Verdict]) -> Verdict:
    """All subscriptions together; what is unknown counts once."""
    whole = Verdict()
    for verdict in verdicts:
        for name in (*Verdict.FAULTS, "checked", "redelivered"):
            setattr(whole, name, getattr(whole, name) + getattr(verdict, name))
        whole.unknown = max(whole.unknown, verdict.unknown)
        whole.examples = (whole.examples + verdict.examples)[:10]
    return whole
