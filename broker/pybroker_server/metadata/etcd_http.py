"""Requests to the members of an etcd cluster through its JSON gateway: failover and authentication.

Rules of this file: it knows members, tokens and failures, and nothing of what is stored. One member is asked at a
time; when it fails the next one is, and stays in use. What must not happen twice is never sent again after it may have
arrived: its outcome is unknown then, and that is said. Every wait has a bound.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from pybroker_server.metadata.etcd_answer import EtcdRefusedError, MemberFailedError, NotConnectedError, header_of
from pybroker_server.metadata.etcd_connection import EtcdConnections, EtcdStream
from pybroker_server.metadata.etcd_url import EtcdOptions
from pybroker_server.metadata.etcd_wire import Json, text
from pybroker_server.metadata.store import StoreError
from pybroker_server.runtime.ports import Timers
from pybroker_server.runtime.runtime import Runtime
from pybroker_server.runtime.time_limit import time_limit
from pybroker_server.telemetry.events import get_logger

ATTEMPT_MS = 3_000
"""What one member gets to answer. With three members, a lease of ten seconds survives two that hang."""
_LEAST_ATTEMPTS = 2

_log = get_logger("pybroker.metadata")


class EtcdHttp:
    """Made by `open`; `close` ends every request and stream with an error."""

    def __init__(
        self, options: EtcdOptions, connections: EtcdConnections, password: str, own_key: bytes, timers: Timers
    ) -> None:
        self._endpoints = options.endpoints
        self._own_key = own_key
        self._user = options.user
        self._password = password
        self._connections = connections
        self._timers = timers
        self._current = 0
        self._token = ""
        self._authenticating = asyncio.Lock()
        self._cluster_id = ""
        self._verified: set[str] = set()
        """Members that answered as those of our cluster since they last failed."""
        self.is_closed = False

    @classmethod
    async def open(cls, options: EtcdOptions, own_key: bytes, runtime: Runtime) -> EtcdHttp:
        """Asks nobody yet. `own_key`: one that we may read; a member is tried with it before it is used.

        Raises StoreError when a file of the options cannot be used.
        """
        password = ""
        if options.password_file:
            raw = await runtime.blocking.run(lambda: _read(runtime, options.password_file))
            password = raw.decode("utf-8", "replace").rstrip("\r\n")
        connections = await EtcdConnections.open(options, runtime)
        return cls(options, connections, password, own_key, runtime.timers)

    async def close(self) -> None:
        self.is_closed = True
        await self._connections.close()

    @property
    def current(self) -> str:
        """The member that is asked next."""
        return self._endpoints[self._current]

    async def read(self, path: str, body: Json) -> Json:
        """Asks what may be asked twice. Raises EtcdRefusedError, or StoreError when no member answers."""
        failures: list[str] = []
        for endpoint in self._attempts():
            try:
                async with time_limit(self._timers, ATTEMPT_MS):
                    await self._prepare(endpoint)
                    return await self._post_authorized(endpoint, path, body)
            except EtcdRefusedError as refusal:
                if not refusal.is_trouble:
                    raise
                self._note(failures, endpoint, refusal.reason)
            except (MemberFailedError, TimeoutError) as error:
                self._note(failures, endpoint, _words(error))
        raise self._nobody_answers(failures)

    async def write(self, path: str, body: Json) -> Json:
        """Asks what must not happen twice. Raises EtcdRefusedError when it did not happen, StoreError when it did
        not or may have."""
        failures: list[str] = []
        for endpoint in self._attempts():
            may_have_arrived = False
            try:
                async with time_limit(self._timers, ATTEMPT_MS):
                    await self._prepare(endpoint)
                    may_have_arrived = True
                    return await self._post_authorized(endpoint, path, body)
            except NotConnectedError as error:
                may_have_arrived = False
                self._note(failures, endpoint, _words(error))
            except EtcdRefusedError as refusal:
                if not refusal.is_trouble:
                    raise
                self._note(failures, endpoint, refusal.reason)
            except (MemberFailedError, TimeoutError) as error:
                self._note(failures, endpoint, _words(error))
            if may_have_arrived:
                raise StoreError(f"whether the change was made is unknown: {failures[-1]}")
        raise self._nobody_answers(failures)

    async def open_stream(self, path: str, body: Json) -> EtcdStream:
        """Raises EtcdRefusedError, or MemberFailedError when the member in use does not begin to answer."""
        endpoint = self.current
        try:
            async with time_limit(self._timers, ATTEMPT_MS):
                await self._prepare(endpoint)
                return await self._connections.open_stream(endpoint, path, body, self._token)
        except TimeoutError as error:
            raise MemberFailedError(_words(error)) from None

    def leave(self, endpoint: str, reason: str) -> None:
        """The next request goes to another member, if there is one."""
        if endpoint in self._verified and not self.is_closed:
            # Once for each time that it fails, not for each request that finds it so.
            _log.warning("etcd_member_failed", member=endpoint, reason=reason)
        self._verified.discard(endpoint)
        if self.current == endpoint:
            self._current = (self._current + 1) % len(self._endpoints)

    def check_open(self) -> None:
        if self.is_closed:
            raise StoreError("the metadata store is closed")

    def _attempts(self) -> Iterator[str]:
        """The member to ask next, as often as asking makes sense; `leave` moves on."""
        for _ in range(max(len(self._endpoints), _LEAST_ATTEMPTS)):
            self.check_open()
            yield self.current
        self.check_open()

    def _note(self, failures: list[str], endpoint: str, reason: str) -> None:
        failures.append(f"{endpoint}: {reason}")
        self.leave(endpoint, reason)

    def _nobody_answers(self, failures: list[str]) -> StoreError:
        told = "; ".join(dict.fromkeys(failures))
        return StoreError(f"etcd does not answer ({told}); is it running, and do address, port and tls fit?")

    async def _prepare(self, endpoint: str) -> None:
        """A token where one is needed, and the proof that this member is one of our cluster."""
        if self._user and not self._token:
            await self._authenticate(endpoint, "")
        if endpoint not in self._verified:
            await self._post_authorized(endpoint, "/v3/kv/range", {"key": text(self._own_key)})
            self._verified.add(endpoint)

    async def _authenticate(self, endpoint: str, stale: str) -> None:
        """A token in place of `stale`, unless another request brought one in the meantime."""
        async with self._authenticating:
            if self._token and self._token != stale:
                return
            self._token = ""
            answer = await self._post(
                endpoint, "/v3/auth/authenticate", {"name": self._user, "password": self._password}, ""
            )
            self._token = answer["token"]

    async def _post_authorized(self, endpoint: str, path: str, body: Json) -> Json:
        token = self._token
        try:
            return await self._post(endpoint, path, body, token)
        except EtcdRefusedError as refusal:
            if not (self._user and refusal.is_stale_token):
                raise
        # Refused for its token, so nothing has happened: it may be sent again.
        await self._authenticate(endpoint, token)
        return await self._post(endpoint, path, body, self._token)

    async def _post(self, endpoint: str, path: str, body: Json, token: str) -> Json:
        answer = await self._connections.post(endpoint, path, body, token)
        self._check_cluster(endpoint, header_of(answer.get("result", answer)).get("cluster_id", ""))
        return answer

    def _check_cluster(self, endpoint: str, cluster_id: str) -> None:
        if cluster_id and not self._cluster_id:
            self._cluster_id = cluster_id
        if cluster_id and cluster_id != self._cluster_id:
            self._verified.discard(endpoint)
            raise MemberFailedError(
                f"it is of another etcd cluster ({cluster_id}, not {self._cluster_id}) or was restored from a copy:"
                " name members of one cluster, and restart the broker if it is the right one"
            )


def _words(error: Exception) -> str:
    return f"no answer within {ATTEMPT_MS / 1000:g} s" if isinstance(error, TimeoutError) else str(error)


def _read(runtime: Runtime, path: str) -> bytes:
    try:
        return runtime.disk.read_bytes(path)
    except OSError as error:
        raise StoreError(f"the password file {path} cannot be read: {error.strerror}") from error
