"""ListConfigResources: the resources that may carry configuration.

v0 client metrics only (KIP-714), v1 by type (KIP-1142).
"""

from typing import Final

REQUEST: Final = """
ListConfigResourcesRequest  key 74  versions 0-1  flexible 0+
  resource_types  []int8  1
"""

RESPONSE: Final = """
ListConfigResourcesResponse  key 74  versions 0-1  flexible 0+
  throttle_time_ms  int32
  error_code        int16
  config_resources  []ConfigResource
    resource_name   string
    resource_type   int8              1  = 16
"""
