"""IncrementalAlterConfigs: set, delete, append to or subtract from single keys (KIP-339). v1 flexible."""

from typing import Final

REQUEST: Final = """
IncrementalAlterConfigsRequest  key 44  versions 0-1  flexible 1+
  resources             []AlterConfigsResource
    resource_type       int8
    resource_name       string
    configs             []AlterableConfig
      name              string
      config_operation  int8
      value             string?
  validate_only         bool
"""

RESPONSE: Final = """
IncrementalAlterConfigsResponse  key 44  versions 0-1  flexible 1+
  throttle_time_ms  int32
  responses         []AlterConfigsResourceResponse
    error_code      int16
    error_message   string?
    resource_type   int8
    resource_name   string
"""
