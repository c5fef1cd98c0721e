"""ApiVersions: what this broker serves, at which versions; the first request of nearly every client.

Versions 0-4. v3 names the client's software (KIP-511); names that are not well-formed are answered
INVALID_REQUEST, upon which librdkafka asks again in version 0. v3 also brings features (KIP-584), and v4
may show a supported feature whose lowest level is 0, which older Java clients cannot read (KAFKA-17011). A
version from the future is answered by the dispatcher, without looking at its body.

The table is made from the handlers that exist. Of the features `metadata.version` is told, at the level of
Kafka 4.3, whose table of APIs this is: tools show it, and clients switch nothing on by it;
`group.version` 1, by which they know that consumer groups (KIP-848) are served;
`eligible.leader.replicas.version` 1 (KIP-966); and `transaction.version` 2, by which they leave it to the
broker to add what they write to their transaction (KIP-890). `share.version` is told when it is served.
"""

from __future__ import annotations

import re
from typing import Final

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode
from pybroker_protocol.messages import ApiVersionsRequest, ApiVersionsResponse
from pybroker_server.handlers.registry import handles
from pybroker_server.handlers.request import RequestContext
from pybroker_server.handlers.services import Services

FEATURES: Final = (
    ("eligible.leader.replicas.version", 0, 1),
    ("group.version", 0, 1),
    ("metadata.version", 7, 30),
    ("transaction.version", 0, 2),
)
"""(name, lowest level, level in force)."""
_ZERO_LEVELS_FROM: Final = 4
_FIRST_NAMED_VERSION: Final = 3
_SOFTWARE: Final = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9.\-]*[a-zA-Z0-9])?")


@handles(ApiKey.API_VERSIONS, 0, 4)
def handle_api_versions(
    services: Services, context: RequestContext, request: ApiVersionsRequest
) -> ApiVersionsResponse:
    connection = context.connection
    if context.api_version >= _FIRST_NAMED_VERSION:
        name, version = request.client_software_name, request.client_software_version
        if not _SOFTWARE.fullmatch(name) or not _SOFTWARE.fullmatch(version):
            return ApiVersionsResponse(error_code=ErrorCode.INVALID_REQUEST)
        connection.client_software_name = name
        connection.client_software_version = version
    return ApiVersionsResponse(
        api_keys=[
            ApiVersionsResponse.ApiVersion(
                api_key=handler.api_key,
                min_version=handler.advertised_min_version,
                max_version=handler.max_version,
            )
            for handler in services.api_table.values()
            if connection.is_inter_broker or not handler.inter_broker_only
        ],
        supported_features=[
            ApiVersionsResponse.SupportedFeatureKey(name=name, min_version=lowest, max_version=level)
            for name, lowest, level in FEATURES
            if lowest or context.api_version >= _ZERO_LEVELS_FROM
        ],
        finalized_features_epoch=services.metadata.image.revision,
        finalized_features=[
            ApiVersionsResponse.FinalizedFeatureKey(name=name, max_version_level=level, min_version_level=level)
            for name, _, level in FEATURES
        ],
    )
