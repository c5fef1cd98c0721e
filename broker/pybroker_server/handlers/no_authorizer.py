"""What the ACL APIs say while no authorizer is configured: SECURITY_DISABLED, as Kafka does.

Rules of this file: no state. Everybody may do everything on such a broker, so there is no rule to show or to keep.
"""

from __future__ import annotations

from typing import Final

NO_AUTHORIZER: Final = "No authorizer is configured: every client may do everything, and access rules cannot be kept."
