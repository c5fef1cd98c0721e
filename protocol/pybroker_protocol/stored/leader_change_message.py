"""Value of the control record with which a leader of the metadata quorum begins. v1 directory ids (KIP-853)."""

from typing import Final

DATA: Final = """
LeaderChangeMessage  versions 0-1  flexible 0+
  struct Voter
    voter_id            int32
    voter_directory_id  uuid     1
  version               int16
  leader_id             int32
  voters                []Voter
  granting_voters       []Voter
"""
