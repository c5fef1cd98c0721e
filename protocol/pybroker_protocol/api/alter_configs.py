"""AlterConfigs: replace the whole configuration of resources; superseded by IncrementalAlterConfigs. v2 flexible."""

from typing import Final

REQUEST: Final = """
AlterConfigsRequest  key 33  versions 0-2  flexible 2+
  resources        []AlterConfigsResource
    resource_type  int8
    resource_name  string
    configs        []AlterableConfig
      name         string
      value        string?
  validate_only    bool
"""

RESPONSE: Final = """
AlterConfigsResponse  key 33  versions 0-2  flexible 2+
  throttle_time_ms  int32
  responses         []AlterConfigsResourceResponse
    error_code      int16
    error_message   string?
    resource_type   int8
    resource_name   string
"""
