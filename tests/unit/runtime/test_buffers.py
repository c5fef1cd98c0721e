"""A pooled buffer is given out again when, and only when, no view of it lives."""

import resource

from pybroker_server.runtime.buffers import MAX_POOLED_BYTES, MIN_BUFFER_BYTES, BufferPool


def test_a_released_buffer_comes_back() -> None:
    pool = BufferPool()
    first = pool.acquire(1_000_000)
    address = id(first)
    pool.release(first)
    del first
    assert id(pool.acquire(1_000_000)) == address
    assert pool.created == 1


def test_a_buffer_with_a_view_is_not_given_out() -> None:
    pool = BufferPool()
    buffer = pool.acquire(100)
    kept = memoryview(buffer)[10:20]
    kept[:] = b"0123456789"
    pool.release(buffer)
    del buffer
    other = pool.acquire(100)
    memoryview(other)[:] = bytes(len(other))
    assert bytes(kept) == b"0123456789"
    del kept
    assert pool.acquire(100) is not other
    assert pool.created == 2


def test_sizes_are_powers_of_two_within_the_pooled_range() -> None:
    pool = BufferPool()
    assert len(pool.acquire(1)) == MIN_BUFFER_BYTES
    assert len(pool.acquire(MIN_BUFFER_BYTES + 1)) == 2 * MIN_BUFFER_BYTES
    assert len(pool.acquire(1 << 20)) == 1 << 20
    assert len(pool.acquire(MAX_POOLED_BYTES + 1)) == MAX_POOLED_BYTES + 1


def test_idle_memory_is_bounded() -> None:
    pool = BufferPool(max_idle_bytes=3 * MIN_BUFFER_BYTES)
    buffers = [pool.acquire(1) for _ in range(10)]
    for buffer in buffers:
        pool.release(buffer)
    assert pool.idle_bytes == 3 * MIN_BUFFER_BYTES
    pool.release(pool.acquire(MAX_POOLED_BYTES * 2))
    assert pool.idle_bytes == 3 * MIN_BUFFER_BYTES


def test_memory_is_taken_by_bytes_written_not_by_bytes_announced() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pool = BufferPool()
    announced = [pool.acquire(100 << 20) for _ in range(20)]
    for buffer in announced:
        buffer[0] = 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 4 * 1024
