"""SaslHandshake: choose a SASL mechanism.

v0 is followed by bare tokens, v1 by SaslAuthenticate. Never flexible (KAFKA-9577).
"""

from typing import Final

REQUEST: Final = """
SaslHandshakeRequest  key 17  versions 0-1
  mechanism  string
"""

RESPONSE: Final = """
SaslHandshakeResponse  key 17  versions 0-1
  error_code  int16
  mechanisms  []string
"""
