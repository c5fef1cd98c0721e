"""`pybroker config explain`: every setting, its value in force and where that comes from."""

from __future__ import annotations

import os

import click

from pybroker_server.cli.errors import EXIT_NOT_FOUND, CliError, did_you_mean
from pybroker_server.cli.output import output_option, show_json, show_table
from pybroker_server.cli.settings import config_from, settings_from
from pybroker_server.config.definitions import TOPIC
from pybroker_server.config.load import Setting, Settings
from pybroker_server.config.notation import ConfigDef
from pybroker_server.config.values import format_value
from pybroker_server.config.views import KEYS_WITH_EFFECT

_HIDDEN = "(hidden)"


@click.group()
def config() -> None:
    """Look at configuration."""


@config.command(context_settings={"ignore_unknown_options": True})
@click.option("--config", "config_file", envvar="PYBROKER_CONFIG", metavar="FILE", help="A server.properties file.")
@click.option("--key", "-k", "keys", multiple=True, metavar="KEY", help="Explain this key in full; may be repeated.")
@click.option("--changed", is_flag=True, help="Only what was set somewhere.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[FILE] [--KEY VALUE]...")
def explain(
    config_file: str | None, keys: tuple[str, ...], changed: bool, arguments: tuple[str, ...], output: str
) -> None:
    """Print what `pybroker serve` would run with, given the same file, environment and flags."""
    settings = settings_from(arguments, os.environ, config_file=config_file)
    config_from(settings)
    if keys:
        explained = [_explained(settings, key) for key in keys]
        if output == "json":
            show_json(explained)
        else:
            click.echo("\n\n".join(_in_words(each) for each in explained))
        return
    rows = [
        (setting.name, _shown(setting), setting.where, setting.definition.update.value, _has_effect(setting.name))
        for setting in settings.by_name.values()
        if (settings.is_set(setting.name) if changed else not setting.definition.internal)
    ]
    show_table(["key", "value", "source", "update", "effect"], rows, output)
    for name in settings.ignored:
        click.echo(f"note: {name} is accepted and has no effect", err=True)


explain.params.append(output_option())


def _explained(settings: Settings, key: str) -> dict[str, object]:
    setting = settings.by_name.get(key)
    if setting is None:
        if key in TOPIC:
            return _facts(TOPIC[key]) | {"scope": "topic"}
        hint = did_you_mean(key, [*settings.by_name, *TOPIC], where="`pybroker config explain` lists all keys")
        raise CliError(f"no such configuration key: {key}", hint=hint, code=EXIT_NOT_FOUND)
    layers = [{"value": _shown(each), "source": each.where} for each in setting.chain()]
    facts = _facts(setting.definition)
    return facts | {"scope": "broker", "value": _shown(setting), "layers": layers, "effect": _has_effect(key)}


def _facts(definition: ConfigDef) -> dict[str, object]:
    return {
        "key": definition.name,
        "doc": definition.doc,
        "type": definition.type.name.lower(),
        "allowed": definition.allowed.sentence(),
        "default": definition.default_text,
        "update": definition.update.value,
    }


def _in_words(explained: dict[str, object]) -> str:
    lines = [f"{explained['key']} ({explained['scope']} key, {explained['type']})", f"  {explained['doc']}"]
    if explained["allowed"]:
        lines.append(f"  allowed: {explained['allowed']}")
    lines.append(f"  default: {'(none)' if explained['default'] is None else explained['default']}")
    layers = explained.get("layers")
    if isinstance(layers, list):
        lines += [
            f"  {'is' if i == 0 else 'over'}: {each['value']}  ({each['source']})" for i, each in enumerate(layers)
        ]
    if explained.get("effect") is False:
        lines.append("  accepted and described; without effect in pybroker")
    return "\n".join(lines)


def _shown(setting: Setting) -> str | None:
    if setting.definition.sensitive and setting.value is not None:
        return _HIDDEN
    return format_value(setting.value)


def _has_effect(name: str) -> bool:
    return name in KEYS_WITH_EFFECT
