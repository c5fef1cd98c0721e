"""Classic groups: the clients' leader assigns, the broker gathers members and passes the assignment on.

`group.py` is the state, `member.py` a member; `join.py`, `sync.py`, `session.py` and `leave.py` are what clients ask;
`rebalance.py` is how a group gets from one generation to the next.
"""
