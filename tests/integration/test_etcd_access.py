"""The etcd store where etcd asks who is there, speaks TLS, or is shared with others."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from tests.support.etcd import Etcd, encoded, running_etcd
from tests.support.etcd_stores import WATCH_LIMIT_S, events_until, opened, put, refusal

from pybroker_server.metadata.store import CompactedError, Compare, LeaseNotFoundError, Put, StoreError, WatchEvent

# -- users and passwords


@dataclass
class Guarded:
    """An etcd with authentication, and a user who may use the keys below /mine only."""

    etcd: Etcd
    directory: Path

    def url(self, *, user: str = "broker", password: str = "a secret", prefix: str = "/mine") -> str:
        path = self.directory / "password"
        path.write_text(f"{password}\n")
        return f"etcd://{user}@{self.etcd.address}{prefix}?password-file={path}"


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Guarded]:
    with running_etcd(tmp_path, flags=("--bcrypt-cost", "4")) as etcd:
        permission = {"permType": "READWRITE", "key": encoded(b"/mine/"), "range_end": encoded(b"/mine0")}
        for user, role in (("root", "root"), ("broker", "mine")):
            etcd.call("/v3/auth/user/add", {"name": user, "password": "a secret"})
            etcd.call("/v3/auth/role/add", {"name": role})
            etcd.call("/v3/auth/user/grant", {"user": user, "role": role})
        etcd.call("/v3/auth/role/grant", {"name": "mine", "perm": permission})
        etcd.call("/v3/auth/enable", {})
        yield Guarded(etcd, tmp_path)


async def test_a_user_of_the_prefix_can_do_everything(guarded: Guarded) -> None:
    async with opened(guarded.url()) as store:
        lease = await store.grant_lease(60_000)
        result = await store.commit([Compare(b"a", 0)], [Put(b"a", b"1", lease), Put(b"b", b"2")])
        assert (await store.range(b"", after=b"z")).items == ()
        assert [item.key for item in (await store.range(b"")).items] == [b"a", b"b"]
        async with aclosing(store.watch(b"", result.revision)) as watch:
            assert len(await events_until(watch, result.revision)) == 2
        assert await store.keep_alive(lease) > 0
        await store.revoke_lease(lease)
        await store.compact(result.revision)
        with pytest.raises(LeaseNotFoundError):
            await store.keep_alive(lease)


async def test_a_token_that_is_not_known_any_more_is_renewed(guarded: Guarded) -> None:
    """etcd forgets all tokens when it is started again, and old ones after five minutes."""
    async with opened(guarded.url()) as store:
        first = await put(store, b"k", b"1")
        watch = store.watch(b"", first)
        await events_until(watch, first)
        guarded.etcd.kill()
        guarded.etcd.launch()
        guarded.etcd.wait_until_listening()
        found = None
        async with asyncio.timeout(15):
            while found is None:
                with contextlib.suppress(StoreError):
                    found, _ = await store.get(b"k")
        # Refused for its token, a commit has not happened: it is sent once more.
        last = await put(store, b"k", b"2")
        assert await events_until(watch, last) == [WatchEvent(b"k", b"2", last)]


async def test_who_may_not_is_told_what_to_do(guarded: Guarded) -> None:
    assert "refused: authentication failed, invalid user ID or password; check the user" in await refusal(
        guarded.url(password="wrong")
    )
    assert "permission denied; grant the user's role readwrite" in await refusal(guarded.url(prefix="/theirs"))
    assert "user name is empty; etcd asks who we are: write etcd://user@" in await refusal(
        f"etcd://{guarded.etcd.address}/mine"
    )
    assert f"password file {guarded.directory}/none cannot be read: No such file" in await refusal(
        f"etcd://broker@{guarded.etcd.address}?password-file={guarded.directory}/none"
    )


async def test_a_user_where_nobody_is_asked_is_told(shared_etcd: Etcd, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("a secret")
    told = await refusal(f"etcd://broker@{shared_etcd.address}/x?password-file={tmp_path}/password")
    assert "authentication is not enabled; take user and password-file out" in told
    assert "a secret" not in told


# -- TLS


@dataclass
class Certified:
    """An etcd that speaks TLS and wants a certificate of its clients."""

    etcd: Etcd
    directory: Path

    def url(self, *files: str) -> str:
        query = "&".join(f"{name}={self.directory}/{name}.pem" for name in files)
        return f"etcd://{self.etcd.address}/tls?tls=true&{query}"


@pytest.fixture
def certified(tmp_path: Path) -> Iterator[Certified]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    for name, host in (("server", "127.0.0.1"), ("client", "broker")):
        issued = authority.issue_cert(host)
        issued.private_key_pem.write_to_path(str(tmp_path / f"{name}-key.pem"))
        issued.cert_chain_pems[0].write_to_path(str(tmp_path / f"{name}.pem"))
    (tmp_path / "client.pem").rename(tmp_path / "cert.pem")
    (tmp_path / "client-key.pem").rename(tmp_path / "key.pem")
    flags = ("--cert-file", f"{tmp_path}/server.pem", "--key-file", f"{tmp_path}/server-key.pem")
    asks = ("--client-cert-auth", "--trusted-ca-file", f"{tmp_path}/ca.pem")
    with running_etcd(tmp_path, flags=(*flags, *asks), scheme="https") as etcd:
        yield Certified(etcd, tmp_path)


async def test_certificates_on_both_sides(certified: Certified) -> None:
    async with opened(certified.url("ca", "cert", "key")) as store:
        revision = await put(store, b"k", b"1")
        async with aclosing(store.watch(b"", revision)) as watch:
            assert await events_until(watch, revision) == [WatchEvent(b"k", b"1", revision)]


async def test_what_is_wrong_with_certificates_is_told(certified: Certified) -> None:
    assert "its certificate is not trusted" in await refusal(certified.url("cert", "key"))
    # Which of the two, is a matter of what the closing overtakes.
    told = await refusal(certified.url("ca"))
    assert "it does not take our certificate, or wants one" in told or "it closed the connection" in told
    assert "it closed the connection); is it running, and do address, port and tls fit?" in await refusal(
        f"etcd://{certified.etcd.address}"
    )
    (certified.directory / "ca.pem").write_text("nonsense")
    assert f"the authorities in {certified.directory}/ca.pem cannot be used" in await refusal(certified.url("ca"))
    (certified.directory / "key.pem").unlink()
    assert "key.pem cannot be used: No such file" in await refusal(certified.url("cert", "key"))


# -- others in the same etcd


async def test_clusters_with_prefixes_of_their_own_do_not_see_each_other(shared_etcd: Etcd) -> None:
    base = f"etcd://{shared_etcd.address}"
    async with opened(f"{base}/one") as one, opened(f"{base}/one-more") as other, opened(f"{base}/one") as again:
        first = await put(one, b"k", b"1")
        last = await put(other, b"k", b"2")
        assert [item.value for item in (await one.range(b"")).items] == [b"1"]
        assert [item.value for item in (await other.range(b"")).items] == [b"2"]
        assert (await again.range(b"")).items == (await one.range(b"")).items
        async with aclosing(again.watch(b"", first)) as watch:
            assert await events_until(watch, first) == [WatchEvent(b"k", b"1", first)]
        async with aclosing(other.watch(b"", first)) as watch:
            assert await events_until(watch, last) == [WatchEvent(b"k", b"2", last)]
    assert {b"/one/data/k", b"/one-more/data/k"} <= set(shared_etcd.all_keys())


async def test_a_revision_that_others_made_is_heard_of_too(shared_etcd: Etcd) -> None:
    """Whoever is refused waits until its image shows the revision of the refusal: a watch must get there."""
    async with opened(f"etcd://{shared_etcd.address}/waits") as store:
        first = await put(store, b"k")
        watch = store.watch(b"", first)
        await events_until(watch, first)
        foreign = shared_etcd.put(b"/others/key")
        refused = await store.commit([Compare(b"k", 0)], [Put(b"k", b"2")])
        assert not refused.succeeded
        assert refused.revision >= foreign
        assert await events_until(watch, refused.revision) == []
        assert [item.key for item in (await store.range(b"")).items] == [b"k"]


async def test_a_deletion_at_the_revision_of_a_compaction_is_not_missed(shared_etcd: Etcd) -> None:
    """etcd forgets the deletion itself when others compact right there (its issue 19179)."""
    async with opened(f"etcd://{shared_etcd.address}/deleted") as store:
        await put(store, b"k")
        deleted = (await store.commit(deletes=[b"k"])).revision
        last = await put(store, b"other")
        shared_etcd.call("/v3/kv/compaction", {"revision": str(deleted)})
        async with aclosing(store.watch(b"", deleted)) as watch:
            with pytest.raises(CompactedError):
                await events_until(watch, last)
        async with aclosing(store.watch(b"", deleted + 1)) as watch:
            assert [event.key for event in await events_until(watch, last)] == [b"other"]


async def test_history_larger_than_one_answer_arrives_whole(shared_etcd: Etcd) -> None:
    """etcd sends it in fragments of about 2 MB, which part a revision here."""
    async with opened(f"etcd://{shared_etcd.address}/large") as store:
        revisions = []
        for number in range(5):
            value = bytes([number]) * 400_000
            revisions.append((await store.commit(puts=[Put(key, value) for key in (b"a", b"b", b"c")])).revision)
        seen: list[int] = []
        async with aclosing(store.watch(b"", revisions[0])) as watch, asyncio.timeout(WATCH_LIMIT_S):
            while len(seen) < 15:
                batch = await anext(watch)
                seen += [event.mod_revision for event in batch.events]
                assert seen.count(batch.revision) == 3, "no revision is split over two batches"
        assert seen == [revision for revision in revisions for _ in range(3)]


async def test_what_is_too_large_for_etcd_is_told(shared_etcd: Etcd) -> None:
    async with opened(f"etcd://{shared_etcd.address}/too-large") as store:
        with pytest.raises(StoreError) as told:
            await put(store, b"k", bytes(2_000_000))
        assert "request is too large; start etcd with a higher --max-request-bytes" in str(told.value)
        assert await store.get(b"k") == (None, (await store.get(b"k"))[1])


def test_other_stores_do_not_pay_for_the_client() -> None:
    script = "import sys, pybroker_server.server; raise SystemExit('aiohttp' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
