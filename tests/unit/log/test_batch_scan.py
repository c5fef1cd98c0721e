"""Scanning with buffers of any size comes to the same batches."""

from pathlib import Path

import pytest
from tests.support.compaction import batch

from pybroker_protocol.records.batch import patch_offset_and_epoch
from pybroker_server.log.batch_scan import scan_batches
from pybroker_server.runtime.disk_os import OsDisk


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("chunk_bytes", [0, 61, 100, 1 << 20])
def test_a_buffer_of_any_size_shows_every_batch(tmp_path: Path, chunk_bytes: int, whole: bool) -> None:
    file = OsDisk().open(str(tmp_path / "log"), create=True)
    expected = []
    for number in range(5):
        view = batch((b"k", b"v" * 50 * number))
        patch_offset_and_epoch(view, 0, number, 0)
        expected.append((file.append([view]), number))
    found = scan_batches(file, 0, file.size(), chunk_bytes=chunk_bytes, whole=whole)
    assert [(position, header.base_offset) for position, header, _ in found] == expected
