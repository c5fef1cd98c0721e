"""Log lines: their two forms, what a hostile peer cannot do to them, and how often it can cause one."""

import io
import json

import pytest
import structlog
from tests.support.manual_time import ManualTime

from pybroker_server.telemetry.events import LineLimiter, RefusalLog, configure_logging, get_logger


@pytest.fixture(autouse=True)
def _put_structlog_back():  # type: ignore[no-untyped-def]
    yield
    structlog.reset_defaults()


def lines(*, as_json: bool = False, level: str = "info") -> io.StringIO:
    stream = io.StringIO()
    configure_logging(ManualTime(), as_json=as_json, level=level, stream=stream)
    return stream


def test_a_console_line_has_time_level_event_facts_and_logger() -> None:
    stream = lines()
    get_logger("pybroker.metadata").warning("metadata_store_unreachable", revision=5, error="no route to host")
    line = stream.getvalue()
    assert line.startswith("[")
    assert line.endswith(' WARN metadata_store_unreachable revision=5 error="no route to host" (pybroker.metadata)\n')


def test_a_json_line_is_one_object() -> None:
    stream = lines(as_json=True)
    get_logger("pybroker.x").info("broker_started", port=9092, data=("a", "b"))
    found = json.loads(stream.getvalue())
    assert (found["event"], found["level"], found["logger"], found["port"]) == (
        "broker_started",
        "info",
        "pybroker.x",
        9092,
    )


def test_lines_below_the_level_are_left_out() -> None:
    stream = lines(level="warning")
    get_logger("x").info("broker_started")
    assert stream.getvalue() == ""


@pytest.mark.parametrize("as_json", [True, False])
def test_a_peer_cannot_forge_a_line_or_reach_the_terminal(as_json: bool) -> None:
    stream = lines(as_json=as_json)
    get_logger("x").info("connection_refused", reason="a\n[2026] FATAL fake\x1b[2J\u202e" + "x" * 10_000)
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert "\x1b" not in text
    assert text.isascii()
    assert len(text) < 1_000


def test_an_exception_brings_its_traceback() -> None:
    stream = lines()
    try:
        raise KeyError("missing")
    except KeyError:
        get_logger("x").exception("request_failed")
    assert "Traceback" in stream.getvalue()
    assert "KeyError: 'missing'" in stream.getvalue()


def test_a_log_that_cannot_be_written_does_not_raise() -> None:
    stream = lines()
    stream.close()
    get_logger("x").info("broker_started")


def test_the_limiter_passes_one_line_per_interval_and_counts_the_rest() -> None:
    limiter = LineLimiter(interval_ms=1_000)
    admitted = [limiter.admit(("a",), now) for now in (0, 1, 999, 1_000, 1_001, 2_500)]
    assert admitted == [0, None, None, 2, None, 1]
    assert limiter.admit(("b",), 1) == 0


def test_the_limiter_remembers_a_bounded_number_of_keys() -> None:
    limiter = LineLimiter(interval_ms=1_000, keys_max=2)
    assert [limiter.admit((key,), 0) for key in "abca"] == [0, 0, 0, 0]
    assert limiter.admit(("a",), 1) is None


def test_refusals_are_limited_per_host_and_kind_whatever_the_port() -> None:
    stream = lines()
    clock = ManualTime()
    log = RefusalLog(clock)
    for port in range(100):
        log.connection_refused("too-large", f"10.0.0.1:{port}", "a frame of 2 GiB")
    log.connection_refused("http", "10.0.0.1:5", "this is HTTP")
    log.connection_refused("too-large", "10.0.0.2:5", "a frame of 2 GiB")
    assert stream.getvalue().count("\n") == 3
    clock.advance_ms(10_000)
    log.connection_refused("too-large", "10.0.0.1:7", "a frame of 2 GiB")
    assert "more_like_it=99" in stream.getvalue()
