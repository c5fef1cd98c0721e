"""Tests in this folder talk to a broker process."""

from tests.support.broker_fixtures import bootstrap, broker_process

__all__ = ["bootstrap", "broker_process"]
