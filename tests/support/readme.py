"""Reads the commands and the examples out of README.md, so that what is run is what is written.

``python3 -m tests.support.readme test`` prints the command that follows ``<!-- run: test -->``; .ci/run runs it.
Standard library only: it works before anything is installed.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent.parent


def marked_blocks() -> dict[str, str]:
    """Return the text of each fenced block that follows a comment ``<!-- run: NAME -->``, by name."""
    text = (ROOT / "README.md").read_text("utf-8")
    blocks = re.findall(r"^<!-- run: (\S+) -->\n```\w+\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    names = [name for name, _ in blocks]
    if len(set(names)) != len(names):
        raise ValueError(f"two blocks of the README have one name: {names}")
    return dict(blocks)


if __name__ == "__main__":
    sys.stdout.write(marked_blocks()[sys.argv[1]])
