"""Why a request to another broker was not answered.

Rules of this file: values only.
"""

from __future__ import annotations

from enum import Enum


class Problem(Enum):
    """What happened; failure detection and callers' retries go by it."""

    REFUSED = "refused"
    """Nobody listens at the broker's address: on a machine that answers, its process is dead."""
    CLOSED = "closed"
    """A connection that worked was ended from the other side: the process died, was stopped, or the path broke."""
    UNREACHABLE = "unreachable"
    """The address cannot be reached, or nobody answered in time while connecting."""
    TIMED_OUT = "timed-out"
    """A request was not answered in time; its connection was given up with all that waited on it."""
    UNKNOWN = "unknown"
    """The metadata knows no such broker, or not where brokers reach it."""
    LEFT = "left"
    """The broker was deregistered or registered anew while the request was under way."""
    BUSY = "busy"
    """Too many requests wait for that broker already."""
    PROTOCOL = "protocol"
    """What came was not an answer, or the broker does not speak a version that is needed."""
    STOPPED = "stopped"
    """This broker is stopping."""


class PeerError(Exception):
    """A request to another broker got no answer: it may or may not have been carried out."""

    def __init__(self, problem: Problem, message: str) -> None:
        super().__init__(message)
        self.problem = problem
