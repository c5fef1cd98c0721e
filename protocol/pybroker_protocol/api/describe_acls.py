"""DescribeAcls: the access rules that match a filter.

v1 pattern types (KIP-290), v2 flexible, v3 user resources (KIP-373).
"""

from typing import Final

REQUEST: Final = """
DescribeAclsRequest  key 29  versions 1-3  flexible 2+
  resource_type_filter  int8
  resource_name_filter  string?
  pattern_type_filter   int8     = 3
  principal_filter      string?
  host_filter           string?
  operation             int8
  permission_type       int8
"""

RESPONSE: Final = """
DescribeAclsResponse  key 29  versions 1-3  flexible 2+
  throttle_time_ms     int32
  error_code           int16
  error_message        string?
  resources            []DescribeAclsResource
    resource_type      int8
    resource_name      string
    pattern_type       int8                    = 3
    acls               []AclDescription
      principal        string
      host             string
      operation        int8
      permission_type  int8
"""
