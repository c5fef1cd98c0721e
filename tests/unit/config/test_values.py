"""Values as clients and files write them: types, ranges, choices, and errors that say what is allowed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybroker_server.config.definitions import BROKER, TOPIC
from pybroker_server.config.values import ConfigError, default_value, format_value, parse_value


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("retention.ms", " 5000 ", 5000),
        ("retention.ms", "-1", -1),
        ("preallocate", "TRUE", True),
        ("cleanup.policy", "compact, delete", ("compact", "delete")),
        ("cleanup.policy", "", ()),
        ("min.cleanable.dirty.ratio", "0.25", 0.25),
        ("compression.type", "zstd", "zstd"),
        ("compression.gzip.level", "-1", -1),
        ("leader.replication.throttled.replicas", "0:1,1:2", ("0:1", "1:2")),
        ("leader.replication.throttled.replicas", "*", ("*",)),
    ],
)
def test_good_topic_values(key: str, text: str, value: object) -> None:
    assert parse_value(TOPIC[key], text) == value


@pytest.mark.parametrize(
    ("key", "text", "says"),
    [
        ("retention.ms", "-2", "at least -1"),
        ("retention.ms", "abc", "not a whole number"),
        ("retention.ms", "1e3", "not a whole number"),
        ("retention.ms", "99999999999999999999", "64-bit range"),
        ("segment.bytes", "2147483648", "32-bit range"),
        ("segment.bytes", "100", "at least 1048576"),
        ("preallocate", "yes", "neither true nor false"),
        ("cleanup.policy", "bogus", "any of compact, delete"),
        ("cleanup.policy", "delete,,compact", "empty item"),
        ("min.cleanable.dirty.ratio", "2", "0 to 1"),
        ("min.cleanable.dirty.ratio", "NaN", "finite"),
        ("min.cleanable.dirty.ratio", "inf", "finite"),
        ("compression.type", "GZIP", "one of uncompressed"),
        ("compression.gzip.level", "0", "1 to 9, or -1"),
        ("leader.replication.throttled.replicas", "x", "pairs partition:broker"),
        ("retention.ms", "1" * 10_000_000, "longer than"),
    ],
)
def test_bad_topic_values_name_the_key_and_what_is_allowed(key: str, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        parse_value(TOPIC[key], text, where="line 3")
    assert str(caught.value).startswith(f"{key} (line 3): ")
    assert len(str(caught.value)) < 300


def test_a_secret_is_never_in_an_error() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_value(BROKER["ssl.key.password"], "hunter2" * 10_000)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1.0"),
        (0.5, "0.5"),
        (1e7, "1.0E7"),
        (12345678.9, "1.23456789E7"),
        (0.0001, "1.0E-4"),
        (1.7976931348623157e308, "1.7976931348623157E308"),
        (-2.5e10, "-2.5E10"),
        (True, "true"),
        ((), ""),
        (None, None),
    ],
)
def test_values_are_written_as_java_writes_them(value: object, text: str | None) -> None:
    assert format_value(value) == text  # type: ignore[arg-type]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_double_survives_writing_and_reading(value: float) -> None:
    text = format_value(value)
    assert text is not None
    assert float(text) == value


@given(st.sampled_from([*BROKER.values()]), st.text(max_size=40))
def test_only_config_errors_come_out(definition, text: str) -> None:  # type: ignore[no-untyped-def]
    try:
        value = parse_value(definition, text)
    except ConfigError:
        return
    written = format_value(value)
    assert written is not None
    assert parse_value(definition, written) == value


def test_every_default_is_allowed_by_its_own_rule() -> None:
    for definition in (*BROKER.values(), *TOPIC.values()):
        if definition.default_text is not None:
            assert parse_value(definition, definition.default_text) == default_value(definition)
