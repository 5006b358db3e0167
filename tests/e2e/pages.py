"""Pages of the documentation as tests walk them: their blocks of commands, and what they show after each."""

from __future__ import annotations

import re
from dataclasses import dataclass

_BLOCK = re.compile(r"(?:<!-- ends with (\d+) -->\n)?```(sh|text|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass
class Block:
    """Commands, or a program; what it ends with, and the lines of what it says that the page shows."""

    language: str
    code: str
    ends_with: int
    shown: list[str]


def blocks(page: str) -> list[Block]:
    """In the order of the page. A block of text is what the block before it says."""
    found: list[Block] = []
    for ends_with, language, text in _BLOCK.findall(page):
        if language == "text":
            found[-1].shown += text.splitlines()
        else:
            found.append(Block(language, text, int(ends_with or 0), []))
    return found


def says(output: str, line: str) -> bool:
    """Whether a line of the page is in the output: columns may be wider there, and `…` stands for anything."""
    pattern = ".*".join(re.escape(" ".join(part.split())) for part in line.split("…"))
    return re.search(pattern, "\n".join(" ".join(each.split()) for each in output.splitlines())) is not None
