"""ExpireDelegationToken: end a token or change its expiry (KIP-48). v2 flexible."""

from typing import Final

REQUEST: Final = """
ExpireDelegationTokenRequest  key 40  versions 1-2  flexible 2+
  hmac                   bytes
  expiry_time_period_ms  int64
"""

RESPONSE: Final = """
ExpireDelegationTokenResponse  key 40  versions 1-2  flexible 2+
  error_code           int16
  expiry_timestamp_ms  int64
  throttle_time_ms     int32
"""
