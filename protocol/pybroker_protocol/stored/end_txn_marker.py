"""Value of the control records that end a transaction, after its version (int16); the key says commit or abort."""

from typing import Final

DATA: Final = """
EndTxnMarker  versions 0
  coordinator_epoch  int32
"""
