"""UpdateFeatures: changes the level of a feature of the whole cluster (KIP-584).

Versions 0-2. v1 says which kind of change is meant and may only try it, v2 has one result for the whole request. All
features are served at the levels that ApiVersions tells; setting one to the level that it has is granted, any other
level is refused, in Kafka's words where Kafka refuses it too. One feature that is refused refuses them all.
"""

from __future__ import annotations

from typing import Final

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode
from pybroker_protocol.messages import UpdateFeaturesRequest, UpdateFeaturesResponse
from pybroker_server.handlers.api_versions import FEATURES
from pybroker_server.handlers.registry import handles
from pybroker_server.handlers.request import RequestContext
from pybroker_server.handlers.services import Services

UPGRADE: Final = 1
SAFE_DOWNGRADE: Final = 2
UNSAFE_DOWNGRADE: Final = 3
_LEVELS: Final = {name: (lowest, level) for name, lowest, level in FEATURES}
_RESULTS_UNTIL: Final = 1
_TYPES_FROM: Final = 1


@handles(ApiKey.UPDATE_FEATURES, 0, 2)
def handle_update_features(
    services: Services, context: RequestContext, request: UpdateFeaturesRequest
) -> UpdateFeaturesResponse:
    for update in request.feature_updates:
        kind = update.upgrade_type
        if context.api_version < _TYPES_FROM:
            kind = SAFE_DOWNGRADE if update.allow_downgrade else UPGRADE
        problem = _problem(services.node_id, update.feature, update.max_version_level, kind)
        if problem is not None:
            return UpdateFeaturesResponse(
                error_code=ErrorCode.INVALID_UPDATE_VERSION,
                error_message="The update failed for all features since the following feature had an error: "
                f"Invalid update version {update.max_version_level} for feature {update.feature}. {problem}",
            )
    results = []
    if context.api_version <= _RESULTS_UNTIL:
        results = [
            UpdateFeaturesResponse.UpdatableFeatureResult(feature=update.feature, error_message="NONE")
            for update in request.feature_updates
        ]
    return UpdateFeaturesResponse(error_message=None, results=results)


def _problem(node_id: int, feature: str, level: int, kind: int) -> str | None:
    """Why the level cannot be had; None: it is in force already."""
    if kind not in (UPGRADE, SAFE_DOWNGRADE, UNSAFE_DOWNGRADE):
        return "The controller does not support the given upgrade type."
    if level < 0:
        return "A feature version cannot be less than 0."
    known = _LEVELS.get(feature)
    if known is None:
        return f"Local controller {node_id} does not support this feature."
    lowest, present = known
    if level > present or 0 < level < lowest:
        return f"Local controller {node_id} only supports versions {lowest}-{present}"
    if level == present:
        return None
    if kind == UPGRADE:
        return (
            "Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe"
            " downgrade."
        )
    return f"This broker serves it at level {present} only."
