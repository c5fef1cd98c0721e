"""The transaction coordinator: producers with a transactional id, partitions and offsets added, ends, what tools are shown.

KIP-98, KIP-360, KIP-588, KIP-664, KIP-890, KIP-994, KIP-1152. Markers follow an end in their own time, so that what comes
after waits for the state to be complete. Nothing is written to partitions here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tests.oracle.exchange import Call, Exchange, Saved, Steps, exchange
from tests.oracle.vocabulary import create

_PID: Final = Saved("pid")
_EPOCH: Final = Saved("epoch")
_FOREIGN_PID: Final = 10**12
_GROUP: Final = "oracle-of-transactions"
"""Not of this exchange alone: its name says which partition of the offsets topic is added."""
_OK: Final = {"error_code": 0}
FINDING: Final = Call(
    "FindCoordinator",
    4,
    {"key_type": 1, "coordinator_keys": ["any"]},
    until={"coordinators.0.error_code": 0},
    hidden=True,
)
"""The coordinators' topic is made when it is first needed."""


def init(
    version: int = 5,
    name: str | None = "@x",
    *,
    timeout_ms: int = 60_000,
    expected: tuple[Any, Any] | None = None,
    **call: Any,
) -> Call:
    fields: dict[str, Any] = {"transactional_id": name, "transaction_timeout_ms": timeout_ms}
    if expected is not None:
        fields |= {"producer_id": expected[0], "producer_epoch": expected[1]}
    return Call("InitProducerId", version, fields, **call)


def begun(name: str = "@x", version: int = 5) -> Call:
    """A producer whose id and epoch are saved; Kafka refuses while it has no block of ids."""
    save = {"pid": "producer_id", "epoch": "producer_epoch"}
    return init(version, name, save=save, until=_OK, hidden=True)


def add(
    topics: Mapping[str, Sequence[int]] | None = None,
    *,
    version: int = 3,
    name: str = "@x",
    pid: Any = _PID,
    epoch: Any = _EPOCH,
    **call: Any,
) -> Call:
    """As a client does it, of one transaction."""
    fields = {
        "v3_and_below_transactional_id": name,
        "v3_and_below_producer_id": pid,
        "v3_and_below_producer_epoch": epoch,
        "v3_and_below_topics": _topics(topics),
    }
    return Call("AddPartitionsToTxn", version, fields, **call)


def added(topics: Mapping[str, Sequence[int]] | None = None, **call: Any) -> Call:
    done = {"results_by_topic_v3_and_below.0.results_by_partition.0.partition_error_code": 0}
    return add(topics, until=done, hidden=True, **call)


def transaction(
    topics: Mapping[str, Sequence[int]] | None = None,
    *,
    name: str = "@x",
    pid: Any = _PID,
    epoch: Any = _EPOCH,
    verify: bool = False,
) -> dict[str, Any]:
    return {
        "transactional_id": name,
        "producer_id": pid,
        "producer_epoch": epoch,
        "verify_only": verify,
        "topics": _topics(topics),
    }


def add_many(*transactions: Mapping[str, Any], version: int = 5, **call: Any) -> Call:
    """As a broker does it."""
    return Call("AddPartitionsToTxn", version, {"transactions": list(transactions)}, **call)


def _topics(topics: Mapping[str, Sequence[int]] | None) -> list[dict[str, Any]]:
    wanted = {"@t": [0]} if topics is None else topics
    return [{"name": name, "partitions": partitions} for name, partitions in wanted.items()]


def add_offsets(
    *, version: int = 4, name: str = "@x", pid: Any = _PID, epoch: Any = _EPOCH, group: str = _GROUP, **call: Any
) -> Call:
    fields = {"transactional_id": name, "producer_id": pid, "producer_epoch": epoch, "group_id": group}
    return Call("AddOffsetsToTxn", version, fields, **call)


def end(
    version: int = 5,
    *,
    commit: bool = True,
    name: str = "@x",
    pid: Any = _PID,
    epoch: Any = _EPOCH,
    **call: Any,
) -> Call:
    fields = {"transactional_id": name, "producer_id": pid, "producer_epoch": epoch, "committed": commit}
    return Call("EndTxn", version, fields, **call)


def describe(*names: str, **call: Any) -> Call:
    return Call("DescribeTransactions", 0, {"transactional_ids": list(names or ("@x",))}, **call)


def complete(state: str | None = None, *, commit: bool = True) -> Call:
    """Waits until all markers are written."""
    wanted = state or ("CompleteCommit" if commit else "CompleteAbort")
    return describe(until={"transaction_states.0.transaction_state": wanted})


def listed(version: int = 2, **fields: Any) -> Call:
    return Call("ListTransactions", version, fields, own=True)


def ended(*, commit: bool = True, version: int = 5, epoch: Any = _EPOCH) -> list[Call]:
    """Not recorded; since version 5 the next epoch is saved."""
    save = {"epoch": "producer_epoch"} if version >= 5 else {}
    return [end(version, commit=commit, epoch=epoch, save=save, hidden=True), complete(commit=commit)]


_WAYS: Final = (("commit", True), ("abort", False))
_PLUS_ONE: Final = Saved("epoch", plus=1)

INIT: Final = (
    *(
        exchange(f"txn-init-v{version}", init(version, until=_OK), init(version), describe(), listed())
        for version in range(6)
    ),
    *(
        exchange(
            f"txn-init-known-epoch-v{version}",
            begun(),
            init(version, expected=(_PID, 0)),
            init(version, expected=(_PID, 0)),
            init(version, expected=(_PID, 1)),
            init(version, expected=(_PID, 0)),
            init(version, expected=(_PID, 7)),
            init(version, expected=(_FOREIGN_PID, 2)),
            init(version),
            init(version, expected=(_PID, 2)),
            describe(),
        )
        for version in (3, 4, 5)
    ),
    exchange("txn-init-unknown-name-known-id", init(expected=(_FOREIGN_PID, 3), until=_OK), describe()),
    *(
        exchange(f"txn-init-timeout-{timeout_ms}", init(timeout_ms=timeout_ms, until=_OK), describe())
        for timeout_ms in (1, 900_000)
    ),
    exchange("txn-init-changes-the-timeout", begun(), init(timeout_ms=5_000), describe()),
    *(
        exchange(
            f"txn-init-aborts-an-open-one-v{version}",
            create("@t"),
            begun(),
            added(),
            init(version),
            complete(commit=False),
            init(version),
            describe(),
        )
        for version in range(6)
    ),
    exchange(
        "txn-init-with-its-epoch-aborts-an-open-one",
        create("@t"),
        begun(),
        added(),
        init(expected=(_PID, 0)),
        complete(commit=False),
        init(expected=(_PID, 0)),
        init(expected=(_PID, 2)),
        describe(),
    ),
    exchange(
        "txn-init-with-an-old-epoch-aborts-an-open-one",
        create("@t"),
        begun(),
        begun(),
        added(),
        init(expected=(_PID, 0)),
        complete(commit=False),
        init(expected=(_PID, 0)),
        describe(),
    ),
    exchange("txn-init-foreign-id-with-an-open-one", create("@t"), begun(), added(), init(expected=(7, 0)), describe()),
    *(
        exchange(f"txn-init-after-{label}", create("@t"), begun(), added(), ended(commit=commit), init(), describe())
        for label, commit in _WAYS
    ),
)

_BAD_CALLERS: Final[Mapping[str, Mapping[str, Any]]] = {
    "unknown-name": {"name": "@other"},
    "empty-name": {"name": ""},
    "foreign-id": {"pid": _FOREIGN_PID},
    "later-epoch": {"epoch": _PLUS_ONE},
    "negative-epoch": {"epoch": -1},
}

ADD: Final = (
    *(
        exchange(
            f"txn-add-v{version}",
            create("@t", 3),
            begun(),
            add(version=version),
            add(version=version),
            add({"@t": [1, 2]}, version=version),
            add({"@t": [1, 1]}, version=version),
            add({"@t": [1], "__consumer_offsets": [4], "__transaction_state": [0], "@no": [0]}, version=version),
            add({"@t": [0], "@no": [0]}, version=version),
            add({"@t": [0, 9]}, version=version),
            describe(),
            listed(),
        )
        for version in range(4)
    ),
    *(
        exchange(f"txn-add-{label}-v{version}", create("@t"), begun(), add(version=version, **bad), describe())
        for version in range(4)
        for label, bad in _BAD_CALLERS.items()
    ),
    *(
        exchange(
            f"txn-add-of-a-fenced-producer-v{version}",
            create("@t"),
            begun(),
            begun(),
            add(version=version, epoch=0),
            describe(),
        )
        for version in range(4)
    ),
    exchange("txn-add-nothing", begun(), add({}), add({"@t": []}), describe()),
    exchange("txn-add-bad-name-and-unknown-topic", begun(), add({"@no": [0]}, name=""), add({"@no": [0]}, name="@y")),
    *(
        exchange(
            f"txn-add-after-{label}-v{version}",
            create("@t", 2),
            begun(),
            added(),
            ended(commit=commit, version=version),
            add({"@t": [1]}),
            describe(),
        )
        for version in (4, 5)
        for label, commit in _WAYS
    ),
    exchange(
        "txn-add-with-the-epoch-of-the-last-transaction",
        create("@t"),
        begun(),
        added(),
        ended(),
        add(epoch=0),
        add_many(transaction(epoch=0)),
    ),
)

ADD_MANY: Final = (
    *(
        exchange(
            f"txn-add-many-v{version}",
            create("@t", 3),
            begun("@y"),
            begun(),
            add_many(transaction(verify=True), version=version),
            add_many(transaction(), version=version),
            add_many(transaction(verify=True), version=version),
            add_many(transaction({"@t": [0, 1]}, verify=True), version=version),
            add_many(transaction({"@t": [1], "@no": [0]}), version=version),
            add_many(transaction({"@t": [1], "@no": [0]}, verify=True), version=version),
            add_many(transaction({"@t": [1]}), transaction(name="@other"), transaction(name=""), version=version),
            add_many(transaction({}), transaction({}, name="@y", verify=True), version=version),
            add_many(transaction({"__consumer_offsets": [4]}), version=version),
            describe(),
        )
        for version in (4, 5)
    ),
    *(
        exchange(
            f"txn-add-many-{label}-{kind}-v{version}",
            create("@t"),
            begun(),
            added(),
            add_many(transaction(verify=verify, **bad), version=version),
            describe(),
        )
        for version in (4, 5)
        for kind, verify in (("add", False), ("verify", True))
        for label, bad in _BAD_CALLERS.items()
    ),
    *(
        exchange(
            f"txn-add-many-of-a-fenced-producer-v{version}",
            create("@t"),
            begun(),
            begun(),
            added(),
            add_many(transaction(epoch=0), version=version),
            add_many(transaction(epoch=0, verify=True), version=version),
        )
        for version in (4, 5)
    ),
    *(
        exchange(
            f"txn-add-many-after-{label}",
            create("@t", 2),
            begun(),
            added(),
            ended(commit=commit),
            add_many(transaction(verify=True)),
            add_many(transaction({"@t": [1]})),
            describe(),
        )
        for label, commit in _WAYS
    ),
)

OFFSETS: Final = (
    *(
        exchange(
            f"txn-add-offsets-v{version}",
            begun(),
            add_offsets(version=version),
            add_offsets(version=version),
            add_offsets(version=version, group=""),
            describe(),
        )
        for version in range(5)
    ),
    *(
        exchange(f"txn-add-offsets-{label}-v{version}", begun(), add_offsets(version=version, **bad), describe())
        for version in range(5)
        for label, bad in _BAD_CALLERS.items()
    ),
    *(
        exchange(
            f"txn-add-offsets-of-a-fenced-producer-v{version}", begun(), begun(), add_offsets(version=version, epoch=0)
        )
        for version in range(5)
    ),
    *(
        exchange(f"txn-add-offsets-then-{label}", begun(), add_offsets(), ended(commit=commit), describe())
        for label, commit in _WAYS
    ),
)

END: Final = (
    *(
        exchange(
            f"txn-{label}-v{version}",
            create("@t", 2),
            begun(),
            added(),
            end(version, commit=commit),
            complete(commit=commit),
        )
        for version in range(6)
        for label, commit in _WAYS
    ),
    *(
        exchange(
            f"txn-{label}-again-v{version}",
            create("@t"),
            begun(),
            added(),
            end(version, commit=commit),
            complete(commit=commit),
            end(version, commit=commit),
            end(version, commit=not commit),
            describe(),
        )
        for version in range(6)
        for label, commit in _WAYS
    ),
    *(
        exchange(f"txn-{label}-of-nothing-v{version}", begun(), end(version, commit=commit), describe())
        for version in range(5)
        for label, commit in _WAYS
    ),
    exchange("txn-commit-of-nothing-v5", begun(), end(), describe()),
    exchange("txn-abort-of-nothing-v5", begun(), end(commit=False), complete(commit=False), end(commit=False, epoch=0)),
    *(
        exchange(
            f"txn-{label}-{bad}-v{version}",
            create("@t"),
            begun(),
            added(),
            end(version, commit=commit, **fields),
            describe(),
        )
        for version in range(6)
        for label, commit in _WAYS
        for bad, fields in _BAD_CALLERS.items()
    ),
    *(
        exchange(
            f"txn-end-of-a-fenced-producer-v{version}",
            create("@t"),
            begun(),
            begun(),
            added(),
            end(version, epoch=0),
            end(version, commit=False, epoch=0),
            describe(),
        )
        for version in range(6)
    ),
    *(
        exchange(
            f"txn-end-after-another-producer-came-v{version}",
            create("@t"),
            begun(),
            added(),
            init(),
            complete(commit=False),
            end(version, epoch=0),
            end(version, commit=False, epoch=0),
            end(version, commit=False, epoch=1),
            complete(commit=False),
            init(),
            end(version, commit=False, epoch=0),
            end(version, commit=False, epoch=2),
            describe(),
        )
        for version in (1, 4, 5)
    ),
    *(
        exchange(
            f"txn-after-{label}-then-{then}-of-nothing-v5",
            create("@t"),
            begun(),
            added(),
            ended(commit=commit),
            end(commit=also),
            *([complete(commit=False)] if not also else []),
            describe(),
        )
        for label, commit in _WAYS
        for then, also in _WAYS
    ),
    exchange(
        "txn-many-in-a-row-v5",
        create("@t"),
        begun(),
        [(added(), ended(commit=commit)) for commit in (True, False, True, True, False)],
        describe(),
    ),
    exchange(
        "txn-many-in-a-row-v4",
        create("@t"),
        begun(),
        [(added(), ended(commit=commit, version=4)) for commit in (True, False, True, True, False)],
        describe(),
    ),
    exchange(
        "txn-versions-mixed",
        create("@t"),
        begun(),
        added(),
        ended(version=4),
        added(),
        ended(version=5),
        added(),
        ended(version=3, commit=False),
        add_many(transaction()),
        ended(version=4),
        describe(),
    ),
)

SHOWN: Final = (
    exchange("txn-describe-odd", begun(), describe("@no", "", "@x", "@x")),
    exchange("txn-describe-none", Call("DescribeTransactions", 0, {"transactional_ids": []})),
    exchange("txn-describe-open", create("@t", 3), begun(), added({"@t": [2, 0]}), add_offsets(), describe()),
    *(
        exchange(
            f"txn-list-v{version}",
            create("@t"),
            begun("@empty"),
            begun("@done"),
            added(name="@done"),
            end(name="@done", hidden=True),
            describe("@done", until={"transaction_states.0.transaction_state": "CompleteCommit"}, hidden=True),
            begun(),
            added(),
            listed(version),
            listed(version, state_filters=["Ongoing"]),
            listed(version, state_filters=["Ongoing", "CompleteCommit"]),
            listed(version, state_filters=["ongoing"]),
            listed(version, state_filters=["Nonsense", "Ongoing", "Nonsense", "Dead", ""]),
            listed(version, state_filters=["Nonsense"]),
            listed(version, producer_id_filters=[_PID]),
            listed(version, producer_id_filters=[_FOREIGN_PID, -1]),
            listed(version, producer_id_filters=[_PID], state_filters=["Empty"]),
            *(
                [listed(version, duration_filter=duration) for duration in (-1, -5, 0, 60_000, 10**15)]
                if version >= 1
                else []
            ),
            *(
                [
                    listed(version, transactional_id_pattern=pattern)
                    for pattern in (None, "", "@", "@x", "@.*", "@(x|empty)", "@d.*e", ".*one", "[", "(?=x)", "@X")
                ]
                if version >= 2
                else []
            ),
        )
        for version in range(3)
    ),
    exchange(
        "txn-list-by-pattern-and-state",
        begun("@a"),
        begun("@b"),
        listed(state_filters=["Empty"], transactional_id_pattern="@a"),
        listed(state_filters=["Ongoing"], transactional_id_pattern="@a"),
        listed(state_filters=["Wrong"], transactional_id_pattern="("),
    ),
)


def _coordinators() -> Sequence[Exchange]:
    """Who coordinates is told for every name, also the empty one."""
    one: list[Steps] = [
        [Call("FindCoordinator", version, {"key": name, "key_type": 1}, until={"error_code": 0}) for name in ("@x", "")]
        for version in (1, 2, 3)
    ]
    many: list[Steps] = [
        Call(
            "FindCoordinator",
            version,
            {"coordinator_keys": ["@x", "", "@x"], "key_type": 1},
            until={"coordinators.0.error_code": 0},
        )
        for version in (4, 5, 6)
    ]
    return (exchange("txn-find-coordinator", one), exchange("txn-find-coordinators", many))


EXCHANGES: Final = (*_coordinators(), *INIT, *ADD, *ADD_MANY, *OFFSETS, *END, *SHOWN)
