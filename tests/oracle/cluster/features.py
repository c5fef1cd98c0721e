"""UpdateFeatures, as a trial; the features are those that both have."""

from __future__ import annotations

from typing import Any, Final

from tests.oracle.exchange import Call, exchange

UPGRADE, SAFE, UNSAFE = 1, 2, 3


def update(*wanted: tuple[str, int, int], version: int = 2, trial: bool = True, **call: Any) -> Call:
    updates = [
        {"feature": name, "max_version_level": level, "upgrade_type": kind, "allow_downgrade": kind != UPGRADE}
        for name, level, kind in wanted
    ]
    return Call("UpdateFeatures", version, {"feature_updates": updates, "validate_only": trial}, **call)


def same(version: int) -> Call:
    return update(("metadata.version", 30, UPGRADE), ("group.version", 1, UPGRADE), version=version)


EXCHANGES: Final = (
    *(exchange(f"features-as-they-are-v{version}", same(version)) for version in (0, 1, 2)),
    *(exchange(f"features-unknown-v{version}", update(("nope", 1, UPGRADE), version=version)) for version in (0, 1, 2)),
    exchange("features-no-name", update(("", 1, UPGRADE))),
    exchange("features-one-bad-of-two", update(("group.version", 1, UPGRADE), ("nope", 1, UPGRADE), version=1)),
    exchange("features-too-high", update(("metadata.version", 99, UPGRADE)), update(("group.version", 2, UPGRADE))),
    exchange("features-negative", update(("group.version", -1, UPGRADE))),
    exchange("features-lower-without-saying-so", update(("group.version", 0, UPGRADE))),
    exchange("features-lower", update(("group.version", 0, SAFE)), update(("metadata.version", 29, UNSAFE))),
    exchange("features-unknown-kind", update(("group.version", 1, 9))),
    exchange("features-none", update()),
    exchange("features-for-good", update(("group.version", 1, UPGRADE), trial=False)),
)
