"""DeleteGroups: delete empty groups with their offsets (KIP-229). v2 flexible."""

from typing import Final

REQUEST: Final = """
DeleteGroupsRequest  key 42  versions 0-2  flexible 2+
  groups_names  []string
"""

RESPONSE: Final = """
DeleteGroupsResponse  key 42  versions 0-2  flexible 2+
  throttle_time_ms  int32
  results           []DeletableGroupResult
    group_id        string
    error_code      int16
"""
