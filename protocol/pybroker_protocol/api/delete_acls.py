"""DeleteAcls: remove the access rules that match filters.

v1 pattern types (KIP-290), v2 flexible, v3 user resources (KIP-373).
"""

from typing import Final

REQUEST: Final = """
DeleteAclsRequest  key 31  versions 1-3  flexible 2+
  filters                 []DeleteAclsFilter
    resource_type_filter  int8
    resource_name_filter  string?
    pattern_type_filter   int8                = 3
    principal_filter      string?
    host_filter           string?
    operation             int8
    permission_type       int8
"""

RESPONSE: Final = """
DeleteAclsResponse  key 31  versions 1-3  flexible 2+
  throttle_time_ms     int32
  filter_results       []DeleteAclsFilterResult
    error_code         int16
    error_message      string?
    matching_acls      []DeleteAclsMatchingAcl
      error_code       int16
      error_message    string?
      resource_type    int8
      resource_name    string
      pattern_type     int8                      = 3
      principal        string
      host             string
      operation        int8
      permission_type  int8
"""
