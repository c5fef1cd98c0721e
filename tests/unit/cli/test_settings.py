"""Settings as commands read them: the file on disk, the layers, and `config explain`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pybroker_server.cli.errors import CliError
from pybroker_server.cli.main import main
from pybroker_server.cli.settings import config_from, settings_from


def test_file_environment_and_flags_are_layered(tmp_path: Path) -> None:
    path = tmp_path / "server.properties"
    path.write_text("num.partitions=2\nnode.id=3\n")
    settings = settings_from(["--node-id", "5"], {"KAFKA_NUM_PARTITIONS": "4"}, config_file=str(path))
    assert (settings.value("num.partitions"), settings.value("node.id")) == (4, 5)
    assert settings_from([str(path)], {}, config_file=None).value("num.partitions") == 2


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("missing", None, "there is no"),
        ("binary", b"\xff\xfe", "not UTF-8"),
        ("large", b"x" * (5 << 20), "not a properties file"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, name: str, content: bytes | None, says: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CliError) as caught:
        settings_from([str(path)], {}, config_file=None)
    assert says in caught.value.format_message()


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(CliError) as caught:
        settings_from([str(tmp_path)], {}, config_file=None)
    assert "is a directory" in caught.value.format_message()


def test_a_file_with_secrets_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "server.properties"
    path.write_text("ssl.key.password=canary-5531\n")
    path.chmod(0o644)
    with pytest.raises(CliError) as caught:
        settings_from([str(path)], {}, config_file=None)
    assert "chmod 600" in caught.value.format_message()
    assert "canary" not in caught.value.format_message()
    path.chmod(0o600)
    assert settings_from([str(path)], {}, config_file=None).is_set("ssl.key.password")


def test_two_files_are_one_too_many() -> None:
    with pytest.raises(CliError, match="more than one"):
        settings_from(["a"], {}, config_file="b")


def test_every_problem_is_listed() -> None:
    with pytest.raises(CliError) as caught:
        settings_from(["--num-partitions", "0", "--log-roll-hours", "x"], {}, config_file=None)
    assert "2 settings cannot be used" in caught.value.message
    with pytest.raises(CliError, match="advertised"):
        config_from(settings_from(["--advertised-listeners", "PLAINTEXT://0.0.0.0:1"], {}, config_file=None))


def explain(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["config", "explain", *arguments])
    assert not ended.value.code
    return capsys.readouterr().out


def test_explain_lists_every_key_with_its_source(capsys: pytest.CaptureFixture[str]) -> None:
    lines = explain(capsys, "--num-partitions", "7").splitlines()
    assert lines[0].split("\t") == ["KEY", "VALUE", "SOURCE", "UPDATE", "EFFECT"]
    assert "num.partitions\t7\t--num-partitions\tread-only\ttrue" in lines
    assert len(lines) > 300


def test_explain_only_what_changed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(explain(capsys, "--changed", "-o", "json", "--ssl-key-password", "canary-77"))
    assert found == [
        {
            "key": "ssl.key.password",
            "value": "(hidden)",
            "source": "--ssl-key-password",
            "update": "per-broker",
            "effect": False,
        }
    ]


def test_explain_one_key_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    text = explain(capsys, "--key", "num.partitions", "--key", "retention.ms", "--num-partitions", "7")
    assert "is: 7  (--num-partitions)" in text
    assert "over: 1  (default)" in text
    assert "retention.ms (topic key, long)" in text
