"""What is encoded comes back, for every message at every version."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.schema_values import SAMPLES, message_strategy, message_versions, sample

from pybroker_protocol import messages
from pybroker_protocol.codec import decode, encode

MESSAGE_NAMES = messages.message_names()


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_sample_of_every_message_and_version_comes_back(kind: str) -> None:
    for name, version in message_versions():
        message_class = getattr(messages, name)
        message = sample(message_class, version, kind)
        wire = b"".join(encode(message, version))
        decoded, position = decode(message_class, version, memoryview(wire))
        assert position == len(wire), (name, version)
        assert decoded == message, (name, version)
        assert b"".join(encode(decoded, version)) == wire, (name, version)


@pytest.mark.parametrize("name", MESSAGE_NAMES)
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_message_comes_back(name: str, data: st.DataObject) -> None:
    message_class = getattr(messages, name)
    versions = message_class.schema.versions
    version = data.draw(st.integers(versions.low, versions.high), label="version")
    message = data.draw(message_strategy(message_class, version), label="message")
    wire = b"".join(encode(message, version))
    decoded, position = decode(message_class, version, memoryview(wire))
    assert decoded == message
    assert position == len(wire)


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_message_in_the_middle_of_a_buffer_ends_where_it_says(kind: str) -> None:
    before, after = b"before", b"after"
    for name, version in message_versions():
        message_class = getattr(messages, name)
        wire = b"".join(encode(sample(message_class, version, kind), version))
        view = memoryview(before + wire + after)
        _, position = decode(message_class, version, view, len(before))
        assert bytes(view[position:]) == after, (name, version)
