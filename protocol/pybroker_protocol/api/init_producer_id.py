"""InitProducerId: a producer id and epoch; with a transactional id, older producers of that id are fenced.

v2 flexible, v3 resume with the own id and epoch (KIP-360), v4 PRODUCER_FENCED (KIP-588), v5 TRANSACTION_ABORTABLE
(KIP-890). v6 (two-phase commit, KIP-939) is not stable in 4.3 and not declared.
"""

from typing import Final

REQUEST: Final = """
InitProducerIdRequest  key 22  versions 0-5  flexible 2+
  transactional_id        string?
  transaction_timeout_ms  int32
  producer_id             int64    3+  = -1
  producer_epoch          int16    3+  = -1
"""

RESPONSE: Final = """
InitProducerIdResponse  key 22  versions 0-5  flexible 2+
  throttle_time_ms  int32
  error_code        int16
  producer_id       int64  = -1
  producer_epoch    int16
"""
