"""ListGroups: the groups that a broker coordinates. v3 flexible, v4 by state (KIP-518), v5 by type (KIP-848)."""

from typing import Final

REQUEST: Final = """
ListGroupsRequest  key 16  versions 0-5  flexible 3+
  states_filter  []string  4+
  types_filter   []string  5
"""

RESPONSE: Final = """
ListGroupsResponse  key 16  versions 0-5  flexible 3+
  throttle_time_ms  int32          1+
  error_code        int16
  groups            []ListedGroup
    group_id        string
    protocol_type   string
    group_state     string         4+
    group_type      string         5
"""
