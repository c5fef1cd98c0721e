"""PushTelemetry: a client's metrics, in OTLP (KIP-714)."""

from typing import Final

REQUEST: Final = """
PushTelemetryRequest  key 72  versions 0  flexible 0+
  client_instance_id  uuid
  subscription_id     int32
  terminating         bool
  compression_type    int8
  metrics             bytes
"""

RESPONSE: Final = """
PushTelemetryResponse  key 72  versions 0  flexible 0+
  throttle_time_ms  int32
  error_code        int16
"""
