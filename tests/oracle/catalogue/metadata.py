"""Metadata: by name, by id, all, none, unknown and invalid names, automatic creation, authorised operations."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from tests.oracle.exchange import Call, Exchange, Padded, exchange, topic_id
from tests.oracle.vocabulary import create, delete, metadata

_UNKNOWN_ID: Final = UUID(int=0xBEEF)


def _metadata_all(version: int) -> Exchange:
    """Null asks for all topics, except in version 0 where an empty list does."""
    fields: dict[str, Any] = {"topics": [] if version == 0 else None, "allow_auto_topic_creation": False}
    return exchange(f"metadata-all-v{version}", create("@t", 2), Call("Metadata", version, fields, own=True))


EXCHANGES: Final[tuple[Exchange, ...]] = (
    *(
        exchange(f"metadata-one-topic-v{version}", create("@t", 2), metadata("@t", version=version))
        for version in range(14)
    ),
    *(_metadata_all(version) for version in (0, 1, 5, 9, 12, 13)),
    *(
        exchange(f"metadata-no-topics-v{version}", create("@t"), Call("Metadata", version, {"topics": []}, own=True))
        for version in (1, 9, 12)
    ),
    *(exchange(f"metadata-unknown-topic-v{version}", metadata("@no", version=version)) for version in (4, 9, 12, 13)),
    exchange("metadata-unknown-and-known", create("@t"), metadata("@no", "@t")),
    exchange("metadata-same-topic-twice", create("@t"), metadata("@t", "@t")),
    exchange("metadata-many-topics", create("@b"), create("@a"), create("@c"), metadata("@c", "@a", "@b")),
    exchange(
        "metadata-by-id",
        create("@t", 2),
        Call("Metadata", 12, {"topics": [{"topic_id": topic_id("@t"), "name": None}]}),
    ),
    exchange("metadata-by-unknown-id", Call("Metadata", 12, {"topics": [{"topic_id": _UNKNOWN_ID, "name": None}]})),
    exchange("metadata-by-unknown-id-v13", Call("Metadata", 13, {"topics": [{"topic_id": _UNKNOWN_ID, "name": None}]})),
    exchange("metadata-by-zero-id", Call("Metadata", 12, {"topics": [{"name": None}]})),
    exchange(
        "metadata-by-id-and-name",
        create("@t"),
        Call("Metadata", 12, {"topics": [{"topic_id": topic_id("@t"), "name": "@t"}]}),
    ),
    exchange(
        "metadata-by-id-and-name-mixed",
        create("@s"),
        create("@t"),
        Call("Metadata", 12, {"topics": [{"topic_id": topic_id("@t"), "name": None}, {"name": "@s"}]}),
    ),
    exchange(
        "metadata-by-id-in-version-10",
        create("@t"),
        Call("Metadata", 10, {"topics": [{"topic_id": topic_id("@t"), "name": "@t"}]}),
    ),
    exchange(
        "metadata-null-name-in-version-10",
        create("@t"),
        Call("Metadata", 10, {"topics": [{"topic_id": topic_id("@t"), "name": None}]}),
    ),
    exchange("metadata-null-name-in-version-11", Call("Metadata", 11, {"topics": [{"name": None}]})),
    *(
        exchange(f"metadata-invalid-name-{label}", metadata(name, version=version, auto_create=auto_create))
        for label, name, version, auto_create in (
            ("slash", "a/b", 12, False),
            ("slash-auto-create", "a/b", 12, True),
            ("empty", "", 12, False),
            ("empty-auto-create", "", 12, True),
            ("dot", ".", 12, True),
            ("dots", "..", 9, True),
            ("space", "a b", 9, True),
            ("unicode", "thé", 12, True),
        )
    ),
    exchange("metadata-invalid-name-250", metadata(Padded("@t", 250), auto_create=True)),
    exchange(
        "metadata-auto-create",
        metadata("@new", auto_create=True),
        metadata("@new", auto_create=True, until={"topics.0.error_code": 0, "topics.0.partitions.0.error_code": 0}),
    ),
    exchange(
        "metadata-auto-create-v3-has-no-flag",
        metadata("@new", version=3),
        metadata("@new", version=3, until={"topics.0.error_code": 0, "topics.0.partitions.0.error_code": 0}),
    ),
    exchange(
        "metadata-auto-create-by-id-never",
        Call("Metadata", 12, {"topics": [{"topic_id": _UNKNOWN_ID, "name": None}], "allow_auto_topic_creation": True}),
    ),
    exchange("metadata-auto-create-off-does-not-create", metadata("@no"), metadata("@no")),
    exchange(
        "metadata-deleted-topic",
        create("@t"),
        delete("@t"),
        metadata("@t"),
        Call("Metadata", 12, {"topics": [{"topic_id": topic_id("@t"), "name": None}]}),
    ),
    exchange(
        "metadata-recreated-topic-has-a-new-id",
        create("@t"),
        metadata("@t"),
        delete("@t"),
        create("@t"),
        metadata("@t"),
    ),
    *(
        exchange(
            f"metadata-authorized-operations-v{version}",
            create("@t"),
            Call(
                "Metadata",
                version,
                {
                    "topics": [{"name": "@t"}],
                    "include_topic_authorized_operations": True,
                    **({"include_cluster_authorized_operations": True} if version <= 10 else {}),
                },
            ),
        )
        for version in (8, 10, 12)
    ),
    exchange("metadata-null-client-id", create("@t"), metadata("@t", client_id=None)),
)
