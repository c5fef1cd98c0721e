"""What may stand in an etcd URL, and what is refused in which words."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from tests.support.manual_time import ManualTime
from tests.support.runtimes import manual_runtime

from pybroker_server.metadata.etcd_url import EtcdOptions, parse_etcd_url
from pybroker_server.metadata.stores import StoreUrlError, open_store


def parsed(url: str) -> EtcdOptions:
    return parse_etcd_url(urlsplit(url))


def test_one_host_is_enough() -> None:
    assert parsed("etcd://meta") == EtcdOptions(endpoints=("http://meta:2379",), prefix="/pybroker")


def test_several_members_with_and_without_ports() -> None:
    found = parsed("etcd://a:1,b,10.0.0.1:65535/x")
    assert found.endpoints == ("http://a:1", "http://b:2379", "http://10.0.0.1:65535")


def test_ipv6_members() -> None:
    assert parsed("etcd://[::1]:2,[fe80::2]").endpoints == ("http://[::1]:2", "http://[fe80::2]:2379")


@pytest.mark.parametrize(
    ("url", "prefix"),
    [("etcd://h/", "/pybroker"), ("etcd://h/a", "/a"), ("etcd://h/a/b/", "/a/b"), ("etcd://h/a%20b", "/a b")],
)
def test_the_path_is_the_prefix(url: str, prefix: str) -> None:
    assert parsed(url).prefix == prefix


def test_a_user_has_a_password_file() -> None:
    found = parsed("etcd://the%40user@h:1/x?password-file=/etc/secret%20file")
    assert (found.user, found.password_file) == ("the@user", "/etc/secret file")
    assert found.endpoints == ("http://h:1",)


def test_files_of_certificates_imply_tls() -> None:
    found = parsed("etcd://h?ca=/ca.pem&cert=/c.pem&key=/k.pem")
    assert found == EtcdOptions(("https://h:2379",), tls=True, ca_file="/ca.pem", cert_file="/c.pem", key_file="/k.pem")
    assert parsed("etcd://h?tls=true") == EtcdOptions(("https://h:2379",), tls=True)
    assert parsed("etcd://h?tls=false").tls is False


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("etcd://", "no address"),
        ("etcd:///prefix", "no address"),
        ("etcd://a,,b", "no address"),
        ("etcd://a:0", "port"),
        ("etcd://a:65536", "port"),
        ("etcd://a:x", "port"),
        ("etcd://::1", "no address"),
        ("etcd://h//x", "empty part"),
        ("etcd://user:secret@h?password-file=/f", "password may not stand"),
        ("etcd://user@h", "go together"),
        ("etcd://h?password-file=/f", "go together"),
        ("etcd://@h?password-file=/f", "no user"),
        ("etcd://h?cert=/c", "go together"),
        ("etcd://h?key=/k", "go together"),
        ("etcd://h?tls=yes", "true or false"),
        ("etcd://h?tls=false&ca=/ca", "contradicts"),
        ("etcd://h?colour=red", "unknown option 'colour'"),
        ("etcd://a,[::1", "metadata.store.url"),
    ],
)
async def test_what_cannot_be_meant_is_refused(url: str, says: str) -> None:
    async with manual_runtime(ManualTime()) as runtime:
        with pytest.raises(StoreUrlError) as refused:
            await open_store(url, runtime)
    assert str(refused.value).startswith("metadata.store.url")
    assert says in str(refused.value)
    assert "secret" not in str(refused.value)
