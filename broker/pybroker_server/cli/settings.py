"""Settings as a command gets them: file, environment and flags read, layered, and explained when they do not fit."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from pybroker_server.cli.errors import EXIT_USAGE, CliError, from_os_error
from pybroker_server.cli.flags import FlagError, ParsedFlags, parse_flags
from pybroker_server.config.load import ConfigErrors, Layer, Settings, load_settings
from pybroker_server.config.properties import FILE_CHARACTERS_MAX
from pybroker_server.config.values import ConfigError
from pybroker_server.config.views import BrokerConfig, build_broker_config


def settings_from(arguments: Sequence[str], environment: Mapping[str, str], *, config_file: str | None) -> Settings:
    """Layers the file (named by `--config`, or the one bare argument), the environment and the flags."""
    flags = _flags(arguments)
    files = [*([config_file] if config_file else []), *flags.files]
    if len(files) > 1:
        raise CliError("more than one configuration file", cause=", ".join(files), code=EXIT_USAGE)
    path = files[0] if files else None
    text = None if path is None else read_config_file(path)
    try:
        settings = load_settings(file_text=text, file_path=path or "", environment=environment, flags=flags.settings)
    except ConfigErrors as error:
        raise _config_problem(error.errors) from None
    if path is not None:
        _refuse_readable_secrets(path, settings)
    return settings


def config_from(settings: Settings) -> BrokerConfig:
    """The broker's view of the settings, or the error that says what does not go together."""
    try:
        return build_broker_config(settings)
    except ConfigError as error:
        raise _config_problem([error]) from None


def read_config_file(path: str) -> str:
    """The text of a configuration file."""
    what = f"cannot read the configuration file {path}"
    try:
        with Path(path).open("rb") as file:
            data = file.read(4 * FILE_CHARACTERS_MAX + 1)
    except OSError as error:
        raise from_os_error(what, error) from None
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise CliError(what, cause=f"byte {error.start} is not UTF-8", code=EXIT_USAGE) from None


def _flags(arguments: Sequence[str]) -> ParsedFlags:
    try:
        return parse_flags(arguments)
    except FlagError as error:
        raise CliError(str(error), hint="pybroker serve --help", code=EXIT_USAGE) from None


def _config_problem(errors: Sequence[ConfigError]) -> CliError:
    if len(errors) == 1:
        error = errors[0]
        where = f" ({error.where})" if error.where else ""
        return CliError(f"{error.key}{where}", cause=error.problem, hint=error.hint, code=EXIT_USAGE)
    lines = "".join(f"\n  - {error}" for error in errors)
    return CliError(f"{len(errors)} settings cannot be used:{lines}", code=EXIT_USAGE)


def _refuse_readable_secrets(path: str, settings: Settings) -> None:
    """A file that others can read may not hold secrets: the mistake shows long after the secret is known."""
    secrets = [
        setting.name
        for setting in settings.by_name.values()
        if setting.definition.sensitive and any(each.layer is Layer.FILE for each in setting.chain())
    ]
    if not secrets:
        return
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise from_os_error(f"cannot look at {path}", error) from None
    if mode & 0o077:
        raise CliError(f"{path} holds {secrets[0]} and others can read it", hint=f"chmod 600 {path}", code=EXIT_USAGE)
