"""`__consumer_offsets`, key type 1: a position that a group committed.

Value: v1 an expiry time, v2 without it, v3 leader epoch, v4 flexible, with the topic id as a tagged field (KIP-848).
"""

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
