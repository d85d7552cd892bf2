"""Makes sure that this package imports its own siblings and not an application's folder of that name.

`store/siblings.py` and `e2ee/siblings.py` are the same file (a test compares them): neither package
can take the check from a package that is yet to be checked.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path


def require_siblings(package: str, location: str, *names: str) -> None:
    """Raise ImportError unless each of *names* is found beside *package*, whose folder is *location*.

    An application's own ``store`` comes first on ``sys.path``, and what fails then is far from the
    cause. Nothing is imported to find out, so no code of the application runs.
    """
    for name in names:
        found = _find(name)
        if found is None or found.parent != Path(location).parent / name:
            raise ImportError(
                f"{package} needs the package {name!r} that was installed with it in {Path(location).parent}, "
                f"but Python finds {found or 'none'}: rename that one, or take its folder off sys.path",
                name=package,
                path=str(found) if found else None,
            )


def _find(name: str) -> Path | None:
    """Return the file that ``import name`` loads or has loaded; the folder, of a package without such a file."""
    try:
        spec = find_spec(name)
    except ValueError:  # a module made by hand, without a spec
        return Path(getattr(sys.modules[name], "__file__", None) or "<no file>")
    if spec is None:
        return None
    if spec.origin is not None:
        return Path(spec.origin)
    return Path(next(iter(spec.submodule_search_locations or ["<no file>"])))
