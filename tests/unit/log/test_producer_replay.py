"""A batch of the log changes producer state in the same way wherever it is met."""

import pytest
from tests.support.compaction import batch

from pybroker_protocol.errors import ProtocolError
from pybroker_protocol.records.batch import CONTROL, parse_batch_header
from pybroker_protocol.records.control import ControlType, build_end_transaction_marker
from pybroker_server.log.producer_replay import apply_batch
from pybroker_server.log.producer_state import BatchRange, CompletedTransaction, ProducerState

NOTHING = memoryview(b"")


def marker(kind: ControlType) -> memoryview:
    return memoryview(
        build_end_transaction_marker(kind, timestamp=99, producer_id=1, producer_epoch=2, coordinator_epoch=7)
    )


def test_a_data_batch_needs_its_header_only() -> None:
    state = ProducerState()
    header = parse_batch_header(batch((b"k", b"v"), (b"k", b"w"), producer=(1, 2, 5), timestamp=77))
    assert apply_batch(state, NOTHING, header, 40) is None
    [entry] = state
    assert (entry.epoch, list(entry.batches)) == (2, [BatchRange(5, 6, 40, 41, 77)])
    assert entry.transaction_first_offset == -1


@pytest.mark.parametrize("kind", [ControlType.ABORT, ControlType.COMMIT])
def test_a_marker_ends_the_transaction(kind: ControlType) -> None:
    state = ProducerState()
    apply_batch(state, NOTHING, parse_batch_header(batch((b"k", b"v"), producer=(1, 2, 0), transactional=True)), 40)
    assert state.first_unstable_offset == 40
    view = marker(kind)
    expected = CompletedTransaction(1, 40, 41, kind is ControlType.ABORT, 42)
    assert apply_batch(state, view, parse_batch_header(view), 41) == expected
    [entry] = state
    assert (entry.coordinator_epoch, entry.last_timestamp) == (7, 99)


def test_a_marker_that_compaction_emptied_changes_nothing() -> None:
    state = ProducerState()
    view = marker(ControlType.ABORT)
    view[57:61] = bytes(4)
    assert apply_batch(state, view, parse_batch_header(view), 41) is None
    assert len(state) == 0


def test_a_control_batch_that_is_none_is_told() -> None:
    view = batch((b"k", b"v"), producer=(1, 2, 0), transactional=True)
    header = parse_batch_header(view)._replace(attributes=CONTROL)
    state = ProducerState()
    with pytest.raises(ProtocolError):
        apply_batch(state, view[:61], header, 41)
    assert len(state) == 0
