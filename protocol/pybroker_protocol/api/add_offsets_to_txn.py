"""AddOffsetsToTxn: a group's offsets become part of a transaction.

v2 PRODUCER_FENCED (KIP-588), v3 flexible, v4 TRANSACTION_ABORTABLE (KIP-890).
"""

from typing import Final

REQUEST: Final = """
AddOffsetsToTxnRequest  key 25  versions 0-4  flexible 3+
  transactional_id  string
  producer_id       int64
  producer_epoch    int16
  group_id          string
"""

RESPONSE: Final = """
AddOffsetsToTxnResponse  key 25  versions 0-4  flexible 3+
  throttle_time_ms  int32
  error_code        int16
"""
