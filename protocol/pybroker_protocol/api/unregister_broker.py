"""UnregisterBroker: forget a broker that is gone for good (KIP-500)."""

from typing import Final

REQUEST: Final = """
UnregisterBrokerRequest  key 64  versions 0  flexible 0+
  broker_id  int32
"""

RESPONSE: Final = """
UnregisterBrokerResponse  key 64  versions 0  flexible 0+
  throttle_time_ms  int32
  error_code        int16
  error_message     string?
"""
