"""SaslAuthenticate: carries the tokens of the chosen mechanism. v1 session lifetime (KIP-368), v2 flexible."""

from typing import Final

REQUEST: Final = """
SaslAuthenticateRequest  key 36  versions 0-2  flexible 2+
  auth_bytes  bytes
"""

RESPONSE: Final = """
SaslAuthenticateResponse  key 36  versions 0-2  flexible 2+
  error_code           int16
  error_message        string?
  auth_bytes           bytes
  session_lifetime_ms  int64    1+
"""
