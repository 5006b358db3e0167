"""The words in which client and coordinator talk about who may answer a read. Only constants live here."""

from __future__ import annotations

from typing import Final

#: Request metadata of a call that only the leader may answer.
LEADER_ONLY: Final = ("orbit-read", "leader")
#: Trailing metadata of an answer that is not the leader's: when it was so (milliseconds since the epoch).
AS_OF_KEY: Final = "orbit-as-of-ms"
