"""`pybroker version`."""

from __future__ import annotations

import platform

import click

from pybroker_server import __version__


@click.command()
def version() -> None:
    """Print the version of pybroker and of the Python it runs on."""
    click.echo(f"pybroker {__version__} (Kafka protocol 4.3, Python {platform.python_version()})")
