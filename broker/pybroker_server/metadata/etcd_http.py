"""Requests to the members of an etcd cluster through its JSON gateway: failover, authentication, TLS.

Rules of this file: it knows members, tokens and failures, and nothing of what is stored. One member is asked at a
time; when it fails the next one is, and stays in use. What must not happen twice is never sent again after it may have
arrived: its outcome is unknown then, and that is said. Every wait has a bound. aiohttp is imported here and nowhere
else in this room, and this module only by a broker whose store is an etcd: the import costs a tenth of a second.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import ssl
from collections.abc import Iterator
from typing import Any

import aiohttp

from pybroker_server.metadata.etcd_url import EtcdOptions
from pybroker_server.metadata.etcd_wire import Json, number, text
from pybroker_server.metadata.store import StoreError
from pybroker_server.runtime.ports import Timers
from pybroker_server.runtime.runtime import Runtime
from pybroker_server.runtime.time_limit import time_limit
from pybroker_server.telemetry.events import get_logger

ATTEMPT_MS = 3_000
"""What one member gets to answer. With three members, a lease of ten seconds survives two that hang."""
_LEAST_ATTEMPTS = 2
_SHOWN_CHARACTERS = 120

_CANCELLED, _UNKNOWN, _DEADLINE_EXCEEDED, _INTERNAL, _UNAVAILABLE, _UNAUTHENTICATED = 1, 2, 4, 13, 14, 16
_MEMBER_IN_TROUBLE = frozenset({_CANCELLED, _UNKNOWN, _DEADLINE_EXCEEDED, _INTERNAL, _UNAVAILABLE})
"""gRPC codes after which another member may do better: no leader, a leader that changed, no quorum in time. An error
without a code is none of etcd's own."""
_NOT_ETCD = "it answers with JSON that is none of etcd's"
_STALE_TOKEN = ("invalid auth token", "revision of auth store is old")
_HINTS = {
    "user name is empty": "etcd asks who we are: write etcd://user@host...?password-file=/path of a file",
    "authentication failed": "check the user before the @ and what is in the password file",
    "authentication is not enabled": "take user and password-file out of the URL, or run etcdctl auth enable",
    "permission denied": "grant the user's role readwrite on the prefix of the URL",
    "database space exceeded": "free some: etcdctl compact, defrag, then alarm disarm",
    "request is too large": "start etcd with a higher --max-request-bytes",
}

_log = get_logger("pybroker.metadata")


class EtcdRefusedError(StoreError):
    """etcd answered with an error: what was asked did not happen, unless `is_trouble`."""

    def __init__(self, endpoint: str, reason: str, code: int) -> None:
        hint = next((f"; {hint}" for words, hint in _HINTS.items() if words in reason), "")
        super().__init__(f"etcd at {endpoint} refused: {reason.removeprefix('etcdserver: ')}{hint}")
        self.reason = reason
        self.is_trouble = code in _MEMBER_IN_TROUBLE or code == 0
        """The member could not do its work; whether a write happened is unknown."""

    @property
    def is_stale_token(self) -> bool:
        return any(words in self.reason for words in _STALE_TOKEN)


class MemberFailedError(Exception):
    """No answer, or none that can be used; the text names neither the member nor what was asked."""


def unrefused(endpoint: str, answer: Any, status: int) -> Json:
    """The answer, if it tells no error, which etcd 3.4, 3.5 and 3.6 spell differently. Raises EtcdRefusedError."""
    if not isinstance(answer, dict):
        raise MemberFailedError(_NOT_ETCD)
    error = answer.get("error")
    fields = error if isinstance(error, dict) else answer
    code = number(fields, "grpc_code" if "grpc_code" in fields else "code")
    if error or status != 200:
        reason = fields.get("message") or error or f"HTTP status {status}"
        raise EtcdRefusedError(endpoint, str(reason), code)
    return answer


class EtcdHttp:
    """Made by `open`; `close` ends every request and stream with an error."""

    def __init__(
        self, options: EtcdOptions, session: aiohttp.ClientSession, password: str, own_key: bytes, timers: Timers
    ) -> None:
        self._endpoints = options.endpoints
        self._own_key = own_key
        self._user = options.user
        self._password = password
        self._session = session
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
        tls: ssl.SSLContext | bool = True
        if options.password_file:
            raw = await runtime.blocking.run(lambda: _read(runtime, options.password_file))
            password = raw.decode("utf-8", "replace").rstrip("\r\n")
        if options.tls:
            tls = await runtime.blocking.run(lambda: _tls_context(options))
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=tls),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
        )
        return cls(options, session, password, own_key, runtime.timers)

    async def close(self) -> None:
        self.is_closed = True
        await self._session.close()

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
            except _NotConnectedError as error:
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
                response = await self._send(endpoint, path, body, self._token)
        except TimeoutError as error:
            raise MemberFailedError(_words(error)) from None
        if response.status != 200:
            async with response:
                self._parsed(endpoint, response.status, await _body(response))
            raise MemberFailedError(f"it began a stream with HTTP status {response.status}")
        return EtcdStream(endpoint, response)

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
        response = await self._send(endpoint, path, body, token)
        async with response:
            return self._parsed(endpoint, response.status, await _body(response))

    async def _send(self, endpoint: str, path: str, body: Json, token: str) -> aiohttp.ClientResponse:
        headers = {"Authorization": token} if token else {}
        try:
            data = io.BytesIO(json.dumps(body).encode())
            return await self._session.post(endpoint + path, data=data, headers=headers, allow_redirects=False)
        except aiohttp.ClientConnectorError as error:
            raise _NotConnectedError(_connect_words(error)) from error
        except (aiohttp.ClientError, OSError) as error:
            raise MemberFailedError(_words(error)) from error
        except RuntimeError as error:
            # aiohttp's word for a session that was closed.
            raise MemberFailedError(str(error)) from error

    def _parsed(self, endpoint: str, status: int, raw: bytes) -> Json:
        try:
            answer = json.loads(raw)
        except ValueError:
            shown = raw[:_SHOWN_CHARACTERS].decode("utf-8", "replace").strip()
            raise MemberFailedError(
                f"HTTP status {status} and no JSON ({shown!r}): not the gateway of an etcd 3.4 or newer"
            ) from None
        fields = unrefused(endpoint, answer, status)
        self._check_cluster(endpoint, _header(fields.get("result", fields)).get("cluster_id", ""))
        return fields

    def _check_cluster(self, endpoint: str, cluster_id: str) -> None:
        if cluster_id and not self._cluster_id:
            self._cluster_id = cluster_id
        if cluster_id and cluster_id != self._cluster_id:
            self._verified.discard(endpoint)
            raise MemberFailedError(
                f"it is of another etcd cluster ({cluster_id}, not {self._cluster_id}) or was restored from a copy:"
                " name members of one cluster, and restart the broker if it is the right one"
            )


class EtcdStream:
    """JSON objects, one a line, for as long as the member sends them."""

    def __init__(self, endpoint: str, response: aiohttp.ClientResponse) -> None:
        self.endpoint = endpoint
        self._response = response
        self._pending = bytearray()
        self._searched = 0

    async def next(self) -> Json:
        """The next object; may be cancelled without losing any. Raises EtcdRefusedError, MemberFailedError."""
        while True:
            end = self._pending.find(b"\n", self._searched)
            if end >= 0:
                line = bytes(self._pending[:end])
                del self._pending[: end + 1]
                self._searched = 0
                if line.strip():
                    return self._parsed(line)
                continue
            self._searched = len(self._pending)
            try:
                received = await self._response.content.readany()
            except (aiohttp.ClientError, OSError) as error:
                raise MemberFailedError(_words(error)) from error
            if not received:
                raise MemberFailedError("it ended the stream")
            self._pending += received

    def close(self) -> None:
        """Closes the connection: a watch ends with it."""
        self._response.close()

    def _parsed(self, line: bytes) -> Json:
        try:
            message: Any = json.loads(line)
        except ValueError:
            raise MemberFailedError("it sent a line that is no JSON") from None
        result: Json = unrefused(self.endpoint, message, self._response.status).get("result", {})
        _header(result)
        return result


class _NotConnectedError(MemberFailedError):
    """Nothing was sent."""


def _header(result: Any) -> Json:
    """Everything that etcd answers has one."""
    header = result.get("header") if isinstance(result, dict) else None
    if not isinstance(header, dict):
        raise MemberFailedError(_NOT_ETCD)
    return header


async def _body(response: aiohttp.ClientResponse) -> bytes:
    try:
        return await response.read()
    except (aiohttp.ClientError, OSError) as error:
        raise MemberFailedError(_words(error)) from error


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {ATTEMPT_MS / 1000:g} s"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "it closed the connection"
    if "ALERT_BAD_CERTIFICATE" in str(error) or "ALERT_CERTIFICATE_REQUIRED" in str(error):
        return "it does not take our certificate, or wants one: name it with cert and key in the URL"
    return str(error) or type(error).__name__


def _connect_words(error: aiohttp.ClientConnectorError) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is not trusted ({error.certificate_error}); name its authority with ?ca=/path"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "the name is not known"
    if isinstance(error.os_error, ssl.SSLError):
        return _words(error.os_error)
    code = error.os_error.errno
    return os.strerror(code) if code is not None and code > 0 else str(error.os_error)


def _read(runtime: Runtime, path: str) -> bytes:
    try:
        return runtime.disk.read_bytes(path)
    except OSError as error:
        raise StoreError(f"the password file {path} cannot be read: {error.strerror}") from error


def _tls_context(options: EtcdOptions) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=options.ca_file or None)
    except OSError as error:
        raise StoreError(f"the authorities in {options.ca_file} cannot be used: {error.strerror or error}") from error
    if options.cert_file:
        try:
            context.load_cert_chain(options.cert_file, options.key_file)
        except OSError as error:
            raise StoreError(
                f"the certificate {options.cert_file} with the key {options.key_file} cannot be used:"
                f" {error.strerror or error}"
            ) from error
    return context
