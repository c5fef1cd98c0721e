"""Every request that is served, at every version, cut at every byte: closed or answered, and nobody else
notices.

reliability 5a, "body truncated at byte i, for every i of every request/version".
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import struct

import pytest
from tests.support.network import RawClient
from tests.support.schema_values import sample

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.frame import encode_request
from pybroker_protocol.header import request_class
from pybroker_protocol.messages import ApiVersionsRequest, MetadataRequest
from pybroker_server.handlers.registry import load_all

_SIZE = struct.Struct(">i")
_AT_ONCE = 100
_ANSWER_S = 10.0
SERVED = sorted(load_all())


async def test_the_sweep_covers_what_the_broker_says_that_it_serves(bootstrap: str) -> None:
    host, _, port = bootstrap.rpartition(":")
    client = RawClient(*await asyncio.open_connection(host, int(port)))
    answer = await client.request(
        ApiKey.API_VERSIONS, 3, ApiVersionsRequest(client_software_name="sweep", client_software_version="1")
    )
    await client.close()
    said = {api.api_key: (api.min_version, api.max_version) for api in answer.api_keys}
    swept = {int(key): (handler.min_version, handler.max_version) for key, handler in load_all().items()}
    # Kafka's exception: old librdkafka looks for Produce 0 to know codecs by, and sends nothing below 3 (KIP-896).
    swept[ApiKey.PRODUCE] = (0, swept[ApiKey.PRODUCE][1])
    assert said == swept


@pytest.mark.parametrize("api_key", SERVED, ids=lambda key: ApiKey(key).name.lower())
async def test_a_request_cut_anywhere_is_closed_or_answered(bootstrap: str, api_key: int) -> None:
    host, _, port = bootstrap.rpartition(":")
    bystander = RawClient(*await asyncio.open_connection(host, int(port)))
    handler = load_all()[api_key]
    wrong: list[str] = []

    async def send_cut(version: int, frame: bytes, cut: int) -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write(_SIZE.pack(cut) + frame[:cut])
            async with asyncio.timeout(_ANSWER_S):
                await reader.read(1)  # a byte of an answer, or the end of the connection
        except TimeoutError:
            wrong.append(f"version {version} cut at {cut} of {len(frame)}: neither closed nor answered")
        except ConnectionError:
            pass  # closed with bytes of ours unread
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    versions = range(handler.min_version, handler.max_version + 1)
    for version, kind in itertools.product(versions, ("filled", "nulls")):
        message = sample(request_class(api_key), version, kind)
        frame = b"".join(encode_request(api_key, version, 1, "sweep", message))[_SIZE.size :]
        for start in range(0, len(frame), _AT_ONCE):
            cuts = range(start, min(start + _AT_ONCE, len(frame)))
            await asyncio.gather(*(send_cut(version, frame, cut) for cut in cuts))
        async with asyncio.timeout(1):
            metadata = await bystander.request(ApiKey.METADATA, 12, MetadataRequest(topics=[]))
        assert metadata.brokers
    await bystander.close()
    assert not wrong, "\n".join(wrong[:10])
