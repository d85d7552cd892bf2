"""Project Wycheproof's test vectors, which are kept beside the repository and not in it.

The folder is that of the environment variable WYCHEPROOF_DIR, else ``../shared/wycheproof`` from the
repository's root. Where there is none, the tests that want it are skipped and say so.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final

import pytest

BESIDE_THE_REPOSITORY: Final = Path(__file__).parents[3] / "shared" / "wycheproof"


def load(name: str) -> dict[str, Any]:
    """Return the file *name* (as ``mlkem_768_test.json``), parsed; skip the test if the folder is not there.

    A folder without the file is an error: it is not Wycheproof's, or the name is wrong.
    """
    folder = Path(os.environ.get("WYCHEPROOF_DIR", BESIDE_THE_REPOSITORY))
    if not folder.is_dir():
        pytest.skip(f"Wycheproof's vectors are not in {folder}; WYCHEPROOF_DIR may name their folder")
    content: dict[str, Any] = json.loads((folder / name).read_text("utf-8"))
    return content
