"""`__consumer_offsets`, key type 11: the epoch of a share group (KIP-932)."""

from typing import Final

KEY: Final = """
ShareGroupMetadataKey  key 11  versions 0
  group_id  string
"""

VALUE: Final = """
ShareGroupMetadataValue  key 11  versions 0  flexible 0+
  epoch          int32
  metadata_hash  int64
"""
