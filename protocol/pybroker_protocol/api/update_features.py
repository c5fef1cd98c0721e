"""UpdateFeatures: finalise feature versions (KIP-584).

v1 upgrade types and a dry run, v2 one result for the whole request (KIP-1022).
"""

from typing import Final

REQUEST: Final = """
UpdateFeaturesRequest  key 57  versions 0-2  flexible 0+
  timeout_ms           int32                   = 60000
  feature_updates      []FeatureUpdateKey
    feature            string
    max_version_level  int16
    allow_downgrade    bool                0
    upgrade_type       int8                1+  = 1
  validate_only        bool                1+
"""

RESPONSE: Final = """
UpdateFeaturesResponse  key 57  versions 0-2  flexible 0+
  throttle_time_ms  int32
  error_code        int16
  error_message     string?
  results           []UpdatableFeatureResult  0-1
    feature         string
    error_code      int16
    error_message   string?
"""
