"""HTTP to single members of etcd: connections, TLS, streams, and what went wrong in words.

Rules of this file: one request to one member, with whatever comes of it; who is asked and how often is decided in
`etcd_http.py`. aiohttp is imported here only, and this module only by a broker whose store is an etcd: the import costs
a tenth of a second.
"""

from __future__ import annotations

import errno
import io
import json
import os
import ssl

import aiohttp

from pybroker_server.metadata.etcd_answer import MemberFailedError, NotConnectedError, header_of, parsed
from pybroker_server.metadata.etcd_url import EtcdOptions
from pybroker_server.metadata.etcd_wire import Json
from pybroker_server.metadata.store import StoreError
from pybroker_server.runtime.runtime import Runtime

_CLOSED = (errno.ECONNRESET, errno.EPIPE)


class EtcdConnections:
    """Made by `open`; `close` ends every request and stream with an error."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    @classmethod
    async def open(cls, options: EtcdOptions, runtime: Runtime) -> EtcdConnections:
        """Connects to nobody yet. Raises StoreError when the files of certificates cannot be used."""
        tls: ssl.SSLContext | bool = True
        if options.tls:
            tls = await runtime.blocking.run(lambda: _tls_context(options))
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=tls),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
        )
        return cls(session)

    async def close(self) -> None:
        await self._session.close()

    async def post(self, endpoint: str, path: str, body: Json, token: str) -> Json:
        """Raises EtcdRefusedError, MemberFailedError; NotConnectedError when nothing was sent."""
        response = await self._send(endpoint, path, body, token)
        async with response:
            return parsed(endpoint, response.status, await _body(response))

    async def open_stream(self, endpoint: str, path: str, body: Json, token: str) -> EtcdStream:
        """Returns when the member begins to answer. Raises EtcdRefusedError, MemberFailedError."""
        response = await self._send(endpoint, path, body, token)
        if response.status != 200:
            async with response:
                parsed(endpoint, response.status, await _body(response))
        return EtcdStream(endpoint, response)

    async def _send(self, endpoint: str, path: str, body: Json, token: str) -> aiohttp.ClientResponse:
        headers = {"Authorization": token} if token else {}
        try:
            data = io.BytesIO(json.dumps(body).encode())
            return await self._session.post(endpoint + path, data=data, headers=headers, allow_redirects=False)
        except aiohttp.ClientConnectorError as error:
            raise NotConnectedError(_connect_words(error)) from error
        except (aiohttp.ClientError, OSError) as error:
            raise MemberFailedError(_words(error)) from error
        except RuntimeError as error:
            # aiohttp's word for a session that was closed.
            raise MemberFailedError(str(error)) from error


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
                    result: Json = parsed(self.endpoint, self._response.status, line).get("result", {})
                    header_of(result)
                    return result
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


async def _body(response: aiohttp.ClientResponse) -> bytes:
    try:
        return await response.read()
    except (aiohttp.ClientError, OSError) as error:
        raise MemberFailedError(_words(error)) from error


def _words(error: Exception) -> str:
    if isinstance(error, aiohttp.ServerDisconnectedError) or getattr(error, "errno", None) in _CLOSED:
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
