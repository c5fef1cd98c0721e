"""SaslHandshake."""

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
