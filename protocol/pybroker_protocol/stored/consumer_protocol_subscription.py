"""What a consumer tells the leader of its classic group, in JoinGroup's metadata. Preceded by its version (int16).

v1 owned partitions (KIP-429), v2 their generation (KIP-792), v3 rack (KIP-881). Newer versions only append fields, so
a version that is not known is read as the newest that is.
"""

from typing import Final

DATA: Final = """
ConsumerProtocolSubscription  versions 0-3
  topics            []string
  user_data         bytes?                = null
  owned_partitions  []TopicPartition  1+
    topic           string
    partitions      []int32
  generation_id     int32             2+  = -1
  rack_id           string?           3   = null
"""
