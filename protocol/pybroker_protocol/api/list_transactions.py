"""ListTransactions: the transactional ids that a broker coordinates, by state and producer id (KIP-664).

v1 by how long they have been open (KIP-994), v2 by a pattern (KIP-1152).
"""

from typing import Final

REQUEST: Final = """
ListTransactionsRequest  key 66  versions 0-2  flexible 0+
  state_filters             []string
  producer_id_filters       []int64
  duration_filter           int64     1+  = -1
  transactional_id_pattern  string?   2   = null
"""

RESPONSE: Final = """
ListTransactionsResponse  key 66  versions 0-2  flexible 0+
  throttle_time_ms       int32
  error_code             int16
  unknown_state_filters  []string
  transaction_states     []TransactionState
    transactional_id     string
    producer_id          int64
    transaction_state    string
"""
