"""RenewDelegationToken: prolong a token (KIP-48). v2 flexible."""

from typing import Final

REQUEST: Final = """
RenewDelegationTokenRequest  key 39  versions 1-2  flexible 2+
  hmac             bytes
  renew_period_ms  int64
"""

RESPONSE: Final = """
RenewDelegationTokenResponse  key 39  versions 1-2  flexible 2+
  error_code           int16
  expiry_timestamp_ms  int64
  throttle_time_ms     int32
"""
