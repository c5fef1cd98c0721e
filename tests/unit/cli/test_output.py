"""Tables and JSON."""

import json

import pytest

from pybroker_server.cli.output import show_json, show_table


def test_plain_output_is_tab_separated_and_one_line_per_row(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(["Name", "in sync"], [["a\tb\nc", True], [None, 3]], "auto")
    assert capsys.readouterr().out == "NAME\tIN SYNC\na\\tb\\nc\ttrue\n-\t3\n"


def test_json_keys_are_the_columns(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(["Name", "in sync"], [["a", 1]], "json")
    assert json.loads(capsys.readouterr().out) == [{"name": "a", "in_sync": 1}]


def test_a_terminal_gets_a_table_without_control_characters(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    show_table(["name"], [["evil\x1b[2J[red]"], ["plain"]], "auto")
    out = capsys.readouterr().out
    assert "\x1b[2J" not in out
    assert "evil\\x1b[2J[red]" in out
    assert "plain" in out


def test_json_is_indented_on_a_terminal_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    show_json({"a": "\u00e9"})
    assert capsys.readouterr().out == '{"a": "\u00e9"}\n'
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    show_json({"a": 1})
    assert capsys.readouterr().out == '{\n  "a": 1\n}\n'
