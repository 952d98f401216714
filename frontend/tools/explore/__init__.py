"""A page on this machine that follows a script as it is edited."""

from .command import COMMAND
from .following import Follower, Seen
from .serving import Server

__all__ = ["COMMAND", "Follower", "Seen", "Server"]
