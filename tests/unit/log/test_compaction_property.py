"""Whatever is written, however it is cut into batches, segments and passes: the last value of each key stays."""

import asyncio
import tempfile
from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.compaction import COMPACTED, CompactedLogs, committed_rows, compacted_logs, last_values, records_from

from pybroker_protocol.records.compression import Codec
from pybroker_protocol.records.control import ControlType

KEYS = [b"a", b"b", b"c", b"d", b"e" * 50, b""]
ROWS = st.lists(st.tuples(st.sampled_from(KEYS), st.none() | st.binary(max_size=60)), min_size=1, max_size=6)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), ROWS, st.sampled_from(list(Codec))),
        st.tuples(st.just("transaction"), ROWS, st.booleans()),
        st.tuples(st.just("roll")),
        st.tuples(st.just("clean")),
        st.tuples(st.just("wait"), st.sampled_from([1, 500, 2000])),
        st.tuples(st.just("restart")),
    ),
    max_size=40,
)
CONFIG = replace(COMPACTED, segment_bytes=500, delete_retention_ms=1000)
Model = dict[bytes | None, bytes | None]


class Life:
    """One log through several lives, and the table that it must come to."""

    def __init__(self) -> None:
        self.model: Model = {}
        self.sequence = 0

    def apply(self, logs: CompactedLogs, step: tuple[object, ...]) -> None:
        kind, *rest = step
        if kind in ("append", "transaction"):
            rows, how = rest
            assert isinstance(rows, list)
            if kind == "append":
                logs.append(*rows, codec=how)
            else:
                logs.append(*rows, producer=(9, 0, self.sequence), transactional=True)
                self.sequence += len(rows)
                logs.end_transaction(ControlType.COMMIT if how else ControlType.ABORT, 9)
            if kind == "append" or how:
                self.model.update(rows)
        elif kind == "roll":
            logs.roll()
        elif kind == "wait":
            assert isinstance(rest[0], int)
            logs.time.advance_ms(rest[0])

    def check(self, logs: CompactedLogs) -> None:
        rows = committed_rows(logs.log)
        assert last_values(rows) == {key: value for key, value in self.model.items() if value is not None}
        offsets = [offset for offset, _, _ in rows]
        assert offsets == sorted(set(offsets))
        for offset in range(0, logs.log.log_end_offset, 3):
            following = records_from(logs.log, offset)
            assert [r.offset for r in following] == [r.offset for r in records_from(logs.log) if r.offset >= offset]


async def live(path: Path, steps: list[tuple[object, ...]]) -> None:
    life = Life()
    time = None
    rest = list(steps)
    is_first = True
    while is_first or rest:
        async with compacted_logs(path, time=time) as logs:
            time = logs.time
            logs.create(CONFIG) if is_first else await logs.load(CONFIG)
            is_first = False
            while rest and (step := rest.pop(0))[0] != "restart":
                life.apply(logs, step)
                if step[0] == "clean":
                    await logs.clean()
                    life.check(logs)
            await logs.clean()
            life.check(logs)
            await logs.flush()
            logs.log.close()


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_the_last_value_of_each_key_is_that_of_a_table(steps: list[tuple[object, ...]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(live(Path(directory), steps))
