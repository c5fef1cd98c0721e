"""OffsetCommit."""

from typing import Final

KEY: Final = """
OffsetCommitKey  key 1  versions 0
  group      string
  topic      string
  partition  int32
"""

VALUE: Final = """
OffsetCommitValue  key 1  versions 0-4  flexible 4+
  offset            int64
  leader_epoch      int32   3+         = -1
  metadata          string
  commit_timestamp  int64
  expire_timestamp  int64   1          = -1
  topic_id          uuid    4   tag 0
"""
