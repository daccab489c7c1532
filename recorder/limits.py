"""What no recording of a real run exceeds, and a file from a stranger may: such a file is refused, before it costs
hours or all memory.

Numbers fit into 64 bits, as torch's own do. That is more than tidiness: Python's dictionaries take quadratic time for
numbers chosen to collide, and of 64 bits at most nine collide.
"""

from typing import Annotated

import msgspec

__all__ = ["DEEPEST", "FREE_USES", "LARGEST", "LONGEST_LINE", "USES_PER_EVENT", "Int64", "Size", "Word"]

LARGEST = 2**63 - 1

Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=LARGEST)]
Size = Annotated[int, msgspec.Meta(ge=-1, le=LARGEST, description="in elements; -1 where there is no single size")]
Word = Annotated[str, msgspec.Meta(min_length=1, max_length=200, description="such as float32 or cuda:0")]

DEEPEST = 1_000
"""Calls inside each other. Python stops at about 330 unless told otherwise, and some work is done for each level."""

FREE_USES, USES_PER_EVENT = 1_000_000, 100
"""How often tensors may be used in all: so many times, and so many more for each event. A few events can say, of each
call of many, that it uses thousands."""

LONGEST_LINE = 64 * 2**20
"""Bytes in one line of a saved stream."""
