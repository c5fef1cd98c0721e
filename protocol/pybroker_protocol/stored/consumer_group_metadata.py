"""`__consumer_offsets`, key type 3: the epoch of a consumer group (KIP-848), and a hash of its topics (KIP-1101)."""

from typing import Final

KEY: Final = """
ConsumerGroupMetadataKey  key 3  versions 0
  group_id  string
"""

VALUE: Final = """
ConsumerGroupMetadataValue  key 3  versions 0  flexible 0+
  epoch          int32
  metadata_hash  int64  tag 0
"""
