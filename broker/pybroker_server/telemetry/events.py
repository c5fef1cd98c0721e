"""Log lines: one event name and its facts per line, for people or as JSON, never one per record.

Rules of this file: this is where structlog is imported, set up and handed out, and where every event name is
listed (`EVENTS`; a test compares the list with the code). What comes from a peer is escaped and cut, so that
nobody can forge a line or reach the terminal. A log that cannot be written is no reason to stop: the line is
dropped.
"""

from __future__ import annotations

import json
import sys
from collections import OrderedDict
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any, Final, Protocol, TextIO

from pybroker_server.runtime.ports import Clock


def _import_structlog() -> Any:
    """structlog loads rich's traceback printer when rich is there: 100 ms and 5 MB that this broker never
    uses."""
    if "structlog" not in sys.modules and "rich" not in sys.modules:
        sys.modules["rich"] = None  # type: ignore[assignment]
        try:
            import structlog
        finally:
            del sys.modules["rich"]
    import structlog

    return structlog


structlog = _import_structlog()

EVENTS: Final[Mapping[str, str]] = {
    "admin_listening": "The admin server's port is open: metrics and health over HTTP.",
    "admin_not_listening": "The admin server's default address cannot be had; the broker serves without it.",
    "broker_found_dead": "A broker's connections ended and nobody listens at its address: its registration is ended.",
    "admin_not_loaded": "What the admin server needs cannot be imported; the broker serves without it.",
    "broker_started": "The broker serves its listeners; says version, data, durability and addresses.",
    "broker_stopped": "The broker has flushed, marked the shutdown as clean and closed everything.",
    "checkpoint_ignored": "A checkpoint file is damaged and treated as absent: more of the logs is read.",
    "checkpoint_not_written": "A checkpoint could not be written; the last one stays, and is tried again.",
    "connection_refused": "A peer did something for which its connection was closed.",
    "control_batch_unreadable": "A control batch in a log is damaged; its transaction's end is not known.",
    "controller_change_failed": "The controller could not change what had to be changed, and tries again.",
    "coordinator_loaded": "The state of an internal topic's partition was read, and is served here now.",
    "coordinator_not_loaded": "An internal topic's partition could not be read; it is offline until a restart.",
    "coordinator_records_damaged": "Records of an internal topic could not be decoded and were skipped.",
    "dynamic_config_refused": "A setting that was changed while the cluster ran is not valid here and left out.",
    "etcd_member_failed": "A member of etcd failed while it was in use; the next one of the URL is asked.",
    "files_not_removed": "Files of deleted segments or partitions could not be removed; the next start does it.",
    "index_rebuilt": "An index file was damaged or missing and is made anew from its segment.",
    "lease_not_renewed": "The metadata store did not renew this broker's lease; tried again until it does.",
    "lease_ran_out": "This broker could not renew its lease in time: others may lead what it led; it stops leading.",
    "invariant_violated": "A rule of replication does not hold; the partition is stopped. A bug: please report it.",
    "isr_change_failed": "A change of in-sync replicas could not be written to the metadata store; it is tried again.",
    "leader_epochs_rebuilt": "The file of leader epochs was damaged or missing and is made anew from the log.",
    "leader_not_reached": "A follower got no answer from its leader; it asks again.",
    "log_compacted": "A pass of compaction over a log came to its end; says from where to where, and its size.",
    "log_directory_failed": "A log directory failed and is offline until the broker is started again.",
    "log_not_compacted": "A log cannot be compacted and is left as it is until the next start; others go on.",
    "log_segment_removed": "A segment that nothing leads to any more was removed while its log was loaded.",
    "log_tail_cut": "A log did not end with a whole batch, as after a crash, and was cut at the last one.",
    "metadata_store_unreachable": "The metadata store does not answer; the last image stays in force.",
    "metadata_watch_compacted": "The watch fell behind what the store remembers; the image is read anew.",
    "not_deregistered": "The metadata store could not be told that this broker stops.",
    "not_handed_over": "A stopping broker waited in vain for others to lead what it leads.",
    "partition_not_opened": "A partition's log cannot be opened; it is answered with KAFKA_STORAGE_ERROR.",
    "peer_lost": "A connection to another broker ended or could not be made; it is made again.",
    "producer_snapshot_ignored": "A producer snapshot was damaged and removed; more of the log is read.",
    "registered_anew": "This broker's registration had ended; it is registered again, under a new epoch.",
    "replica_refused": "What a leader sent cannot be appended to the replica here; it is asked for again.",
    "replica_truncated": "A replica threw records away that its leader does not have; says from where on and why.",
    "request_failed": "A request met a bug of ours; the traceback says where, the client was told an error.",
    "segment_not_removed": "A deleted segment's files could not be renamed; the next retention check tries again.",
    "segments_deleted": "Retention deleted old segments of a partition.",
    "setting_ignored": "A setting of other Kafkas was given and has no effect here.",
    "shutdown_not_announced": "A stopping broker could not tell the metadata store; others find out by its lease.",
    "stray_log_deleted": "A log of a topic that was deleted while this broker was away is deleted.",
    "topic_auto_creation_failed": "A client named a topic that does not exist and that could not be created.",
    "transaction_markers_refused": "A partition knows a later coordinator of a transaction: this one sends no more.",
    "transaction_record_damaged": "A stored transaction has a state that does not exist: the record is skipped.",
    "transaction_timed_out": "A transaction was open for longer than its producer asked for, and is aborted.",
    "worker_ended": "A broker of `serve --workers` ended by itself; it is started again, or all are stopped.",
}
"""Every event name with what it means, by name."""

_VALUE_CHARACTERS_MAX: Final = 400
_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_LEVEL_NAMES: Final = {"warning": "WARN", "exception": "ERROR", "critical": "FATAL"}


class Logger(Protocol):
    """What the parts log with: `logger.info("event_name", fact=value)`."""

    def debug(self, event: str, **facts: object) -> object: ...
    def info(self, event: str, **facts: object) -> object: ...
    def warning(self, event: str, **facts: object) -> object: ...
    def error(self, event: str, **facts: object) -> object: ...
    def exception(self, event: str, **facts: object) -> object: ...


def get_logger(name: str) -> Logger:
    """A logger for one part; may be made before `configure_logging`."""
    logger: Logger = structlog.get_logger(name)
    return logger


def configure_logging(
    clock: Clock, *, as_json: bool = False, level: str = "info", stream: TextIO | None = None
) -> None:
    """Sets the process's log lines up; called once, by the command that starts a broker.

    `level` is one of debug, info, warning, error. Lines go to standard output unless `stream` is given.
    """
    target = stream if stream is not None else sys.stdout
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            _Renderer(clock, as_json=as_json),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=lambda *names: _LineLogger(target, str(names[0]) if names else "pybroker"),
        cache_logger_on_first_use=True,
    )


class _LineLogger:
    """Writes whole lines; structlog calls the method that is named after the level."""

    __slots__ = ("_stream", "name")

    def __init__(self, stream: TextIO, name: str) -> None:
        self._stream = stream
        self.name = name

    def msg(self, line: str) -> None:
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            return  # a full disk or a closed pipe behind the log must not stop the broker

    debug = info = warning = error = critical = exception = msg


class _Renderer:
    """`[time] LEVEL event key=value (logger)`, Kafka's order of things, or one JSON object."""

    def __init__(self, clock: Clock, *, as_json: bool) -> None:
        self._clock = clock
        self._as_json = as_json

    def __call__(self, logger: object, method: str, event: MutableMapping[str, Any]) -> str:
        facts = dict(event)
        name = facts.pop("event", "")
        level = str(facts.pop("level", method))
        traceback = facts.pop("exception", None)
        wall_ms = self._clock.wall_ms()
        source = getattr(logger, "name", "pybroker")
        if self._as_json:
            time = datetime.fromtimestamp(wall_ms / 1000, UTC).isoformat(timespec="milliseconds")
            shown = {key: _json_value(value) for key, value in facts.items()}
            line = {"time": time, "level": level, "logger": source, "event": name, **shown}
            if traceback is not None:
                line["exception"] = traceback
            return json.dumps(line, default=str)
        time = datetime.fromtimestamp(wall_ms // 1000).strftime("%Y-%m-%d %H:%M:%S")
        text = "".join(f" {key}={_console_value(value)}" for key, value in facts.items())
        upper = _LEVEL_NAMES.get(level, level.upper())
        line_text = f"[{time},{wall_ms % 1000:03d}] {upper} {name}{text} ({source})"
        return line_text if traceback is None else f"{line_text}\n{traceback}"


def _json_value(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    return _cut(str(value))


def _console_value(value: object) -> str:
    text = _cut(str(value))
    plain = text.isascii() and text.isprintable() and not any(c in text for c in ' "=')
    return text if plain and text else json.dumps(text)


def _cut(text: str) -> str:
    return text if len(text) <= _VALUE_CHARACTERS_MAX else text[:_VALUE_CHARACTERS_MAX] + "..."


class LineLimiter:
    """Lets one line per key through in each interval and counts the others. Pure: the caller says when it
    is."""

    def __init__(self, *, interval_ms: int = 10_000, keys_max: int = 1_024) -> None:
        self._interval_ms = interval_ms
        self._keys_max = keys_max
        self._lines: OrderedDict[tuple[str, ...], list[int]] = OrderedDict()
        """By key: when the last line passed, and how many were held back since; the longest unused key
        first."""

    def admit(self, key: tuple[str, ...], now_ms: int) -> int | None:
        """How many lines like it were held back since the last one, when this one may pass; else None."""
        entry = self._lines.get(key)
        if entry is None:
            if len(self._lines) >= self._keys_max:
                self._lines.popitem(last=False)
            self._lines[key] = [now_ms, 0]
            return 0
        self._lines.move_to_end(key)
        if now_ms - entry[0] < self._interval_ms:
            entry[1] += 1
            return None
        held_back, entry[0], entry[1] = entry[1], now_ms, 0
        return held_back


class RefusalLog:
    """`network.hub.ConnectionEvents` as log lines: one per peer host and kind in each interval."""

    def __init__(self, clock: Clock, logger: Logger | None = None, limiter: LineLimiter | None = None) -> None:
        self._clock = clock
        self._logger = get_logger("pybroker.network") if logger is None else logger
        self._limiter = LineLimiter() if limiter is None else limiter
        self.counts: dict[str, int] = {}
        """All of them by kind, told or held back; for metrics."""

    def connection_refused(self, kind: str, peer: str, reason: str) -> None:
        """`peer` is `host:port`; the port changes with every try and does not count."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        host = peer.rpartition(":")[0] or peer
        held_back = self._limiter.admit((kind, host), self._clock.monotonic_ms())
        if held_back is None:
            return
        more = {"more_like_it": held_back} if held_back else {}
        self._logger.warning("connection_refused", kind=kind, peer=peer, reason=reason, **more)
