"""Consumer groups (KIP-848): the broker assigns, and members are moved to the assignment one step at a time.

`group.py` and `member.py` are the state. A heartbeat (`heartbeat.py`) may change what a member subscribes to, which
bumps the group's epoch; then there is a new target assignment (`target.py`, `assignors.py`), and every member is
reconciled with its part of it (`reconcile.py`): it gives up first, and receives what others have given up.
"""
