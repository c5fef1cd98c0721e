"""FindCoordinator: the broker that coordinates a group (key type 0), a transactional id (1) or a share partition (2).

v1 key type, v3 flexible, v4 many keys at once (KIP-699), v5 TRANSACTION_ABORTABLE (KIP-890), v6 share groups, whose
key is "group:topic id:partition" (KIP-932).
"""

from typing import Final

REQUEST: Final = """
FindCoordinatorRequest  key 10  versions 0-6  flexible 3+
  key               string    0-3
  key_type          int8      1+
  coordinator_keys  []string  4+
"""

RESPONSE: Final = """
FindCoordinatorResponse  key 10  versions 0-6  flexible 3+
  throttle_time_ms  int32          1+
  error_code        int16          0-3
  error_message     string?        1-3
  node_id           int32          0-3
  host              string         0-3
  port              int32          0-3
  coordinators      []Coordinator  4+
    key             string
    node_id         int32
    host            string
    port            int32
    error_code      int16
    error_message   string?
"""
