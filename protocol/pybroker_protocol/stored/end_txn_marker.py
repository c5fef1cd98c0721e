"""EndTxnMarker."""

from typing import Final

DATA: Final = """
EndTxnMarker  versions 0
  coordinator_epoch  int32
"""
