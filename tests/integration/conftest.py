"""Tests in this folder talk to a broker process, or to an etcd."""

from tests.support.broker_fixtures import bootstrap, broker_process
from tests.support.cli import pybroker
from tests.support.etcd import etcd, shared_etcd

__all__ = ["bootstrap", "broker_process", "etcd", "pybroker", "shared_etcd"]
