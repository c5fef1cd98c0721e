"""EndTxn: commit or abort a transaction.

v2 PRODUCER_FENCED (KIP-588), v3 flexible, v4 TRANSACTION_ABORTABLE, v5 bumps the producer epoch with every transaction
and returns it (KIP-890).
"""

from typing import Final

REQUEST: Final = """
EndTxnRequest  key 26  versions 0-5  flexible 3+
  transactional_id  string
  producer_id       int64
  producer_epoch    int16
  committed         bool
"""

RESPONSE: Final = """
EndTxnResponse  key 26  versions 0-5  flexible 3+
  throttle_time_ms  int32
  error_code        int16
  producer_id       int64  5  = -1
  producer_epoch    int16  5  = -1
"""
