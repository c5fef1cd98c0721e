"""One broker for the tests of the load generator."""

from tests.support.broker_fixtures import bootstrap

__all__ = ["bootstrap"]
