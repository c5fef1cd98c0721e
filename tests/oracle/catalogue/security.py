"""ACLs and delegation tokens of a cluster that has neither an authorizer nor a secret for tokens."""

from __future__ import annotations

from typing import Any, Final

from tests.oracle.exchange import Call, Exchange, exchange

_ANY: Final[dict[str, Any]] = {
    "resource_type_filter": 1,
    "resource_name_filter": None,
    "pattern_type_filter": 1,
    "principal_filter": None,
    "host_filter": None,
    "operation": 1,
    "permission_type": 1,
}
_ALLOW_READ: Final[dict[str, Any]] = {
    "resource_type": 2,
    "resource_name": "orders",
    "resource_pattern_type": 3,
    "principal": "User:alice",
    "host": "*",
    "operation": 3,
    "permission_type": 3,
}
_HMAC: Final = b"\x01" * 32


def _create_acls(version: int, *creations: dict[str, Any]) -> Call:
    return Call("CreateAcls", version, {"creations": list(creations)})


def _delete_acls(version: int, *filters: dict[str, Any]) -> Call:
    return Call("DeleteAcls", version, {"filters": list(filters)})


EXCHANGES: Final[tuple[Exchange, ...]] = (
    *(exchange(f"describe-acls-v{version}", Call("DescribeAcls", version, _ANY)) for version in range(1, 4)),
    *(exchange(f"create-acls-v{version}", _create_acls(version, _ALLOW_READ)) for version in range(1, 4)),
    *(exchange(f"delete-acls-v{version}", _delete_acls(version, _ANY)) for version in range(1, 4)),
    exchange("create-acls-none", _create_acls(3)),
    exchange("create-acls-two", _create_acls(3, _ALLOW_READ, _ALLOW_READ)),
    exchange("create-acls-without-a-name", _create_acls(3, {**_ALLOW_READ, "resource_name": ""})),
    exchange("create-acls-of-an-unknown-operation", _create_acls(3, {**_ALLOW_READ, "operation": 99})),
    exchange("delete-acls-none", _delete_acls(3)),
    exchange("delete-acls-two", _delete_acls(3, _ANY, _ANY)),
    exchange("describe-acls-of-a-user-in-v2", Call("DescribeAcls", 2, {**_ANY, "resource_type_filter": 7})),
    *(
        exchange(
            f"create-delegation-token-v{version}",
            Call("CreateDelegationToken", version, {"renewers": [], "max_lifetime_ms": -1}),
        )
        for version in range(1, 4)
    ),
    *(
        exchange(
            f"renew-delegation-token-v{version}",
            Call("RenewDelegationToken", version, {"hmac": _HMAC, "renew_period_ms": 1000}),
        )
        for version in (1, 2)
    ),
    *(
        exchange(
            f"expire-delegation-token-v{version}",
            Call("ExpireDelegationToken", version, {"hmac": _HMAC, "expiry_time_period_ms": 1000}),
        )
        for version in (1, 2)
    ),
    *(
        exchange(f"describe-delegation-token-v{version}", Call("DescribeDelegationToken", version, {"owners": None}))
        for version in range(1, 4)
    ),
    exchange(
        "describe-delegation-token-of-an-owner",
        Call("DescribeDelegationToken", 3, {"owners": [{"principal_type": "User", "principal_name": "alice"}]}),
    ),
)
