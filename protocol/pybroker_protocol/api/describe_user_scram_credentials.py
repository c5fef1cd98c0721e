"""DescribeUserScramCredentials: which SCRAM mechanisms users have, and their iterations (KIP-554)."""

from typing import Final

REQUEST: Final = """
DescribeUserScramCredentialsRequest  key 50  versions 0  flexible 0+
  users   []UserName?
    name  string
"""

RESPONSE: Final = """
DescribeUserScramCredentialsResponse  key 50  versions 0  flexible 0+
  throttle_time_ms    int32
  error_code          int16
  error_message       string?
  results             []DescribeUserScramCredentialsResult
    user              string
    error_code        int16
    error_message     string?
    credential_infos  []CredentialInfo
      mechanism       int8
      iterations      int32
"""
