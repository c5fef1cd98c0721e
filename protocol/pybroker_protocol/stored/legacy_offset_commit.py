"""`__consumer_offsets`, key type 0: a committed position in the oldest form of the key; only read."""

from typing import Final

KEY: Final = """
LegacyOffsetCommitKey  key 0  versions 0
  group      string
  topic      string
  partition  int32
"""

VALUE: Final = """
LegacyOffsetCommitValue  key 0  versions 0
  offset            int64
  metadata          string
  commit_timestamp  int64
"""
