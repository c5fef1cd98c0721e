"""Every key as a flag."""

import pytest

from pybroker_server.cli.flags import FlagError, parse_flags


def test_flags_overrides_and_a_file() -> None:
    parsed = parse_flags(
        [
            "server.properties",
            "--log-dirs",
            "/a,/b",
            "--num-partitions=3",
            "--override",
            "node.id=7",
            "--log-retention-ms",
            "-1",
        ]
    )
    assert parsed.files == ["server.properties"]
    assert parsed.settings == [
        ("log.dirs", "/a,/b", "--log-dirs"),
        ("num.partitions", "3", "--num-partitions"),
        ("node.id", "7", "--override"),
        ("log.retention.ms", "-1", "--log-retention-ms"),
    ]


def test_a_boolean_may_stand_alone() -> None:
    parsed = parse_flags(["--delete-topic-enable", "--auto-create-topics-enable", "false", "--log-preallocate"])
    assert [value for _, value, _ in parsed.settings] == ["true", "false", "true"]


def test_an_override_may_be_written_with_an_equals_sign() -> None:
    assert parse_flags(["--override=a.b=c=d"]).settings == [("a.b", "c=d", "--override")]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--log-drs", "x"], "did you mean --log-dirs"),
        (["--zork"], "no such option: --zork"),
        (["--log-dirs"], "needs a value"),
        (["--log-dirs", "--node-id", "1"], "needs a value"),
        (["-x"], "no such option: -x"),
        (["--override", "novalue"], "KEY=VALUE"),
    ],
)
def test_what_cannot_be_read(arguments: list[str], says: str) -> None:
    with pytest.raises(FlagError, match=says):
        parse_flags(arguments)
