"""ApiVersions: what the broker speaks, and which features are finalised.

v3 is flexible and names the client's software (KIP-511); the response header stays at version 0 in every version, and
a version that is not served is answered in version 0. v4 may carry features whose least version is 0 (KAFKA-17011).
"""

from typing import Final

REQUEST: Final = """
ApiVersionsRequest  key 18  versions 0-4  flexible 3+
  client_software_name     string  3+
  client_software_version  string  3+
"""

RESPONSE: Final = """
ApiVersionsResponse  key 18  versions 0-4  flexible 3+
  error_code                int16
  api_keys                  []ApiVersion
    api_key                 int16
    min_version             int16
    max_version             int16
  throttle_time_ms          int32                  1+
  supported_features        []SupportedFeatureKey  3+  tag 0
    name                    string
    min_version             int16
    max_version             int16
  finalized_features_epoch  int64                  3+  tag 1  = -1
  finalized_features        []FinalizedFeatureKey  3+  tag 2
    name                    string
    max_version_level       int16
    min_version_level       int16
  zk_migration_ready        bool                   3+  tag 3
"""
