"""CreateAcls: add access rules. v1 pattern types (KIP-290), v2 flexible, v3 user resources (KIP-373)."""

from typing import Final

REQUEST: Final = """
CreateAclsRequest  key 30  versions 1-3  flexible 2+
  creations                []AclCreation
    resource_type          int8
    resource_name          string
    resource_pattern_type  int8           = 3
    principal              string
    host                   string
    operation              int8
    permission_type        int8
"""

RESPONSE: Final = """
CreateAclsResponse  key 30  versions 1-3  flexible 2+
  throttle_time_ms  int32
  results           []AclCreationResult
    error_code      int16
    error_message   string?
"""
