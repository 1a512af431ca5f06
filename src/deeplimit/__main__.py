"""`deeplimit` and `python -m deeplimit`."""

from __future__ import annotations

import sys

from deeplimit.checks import InputError
from deeplimit.cli import app


def main() -> None:
    """Run the command line; what cannot be used ends with one sentence and status 2, what the system refuses with status 1."""
    try:
        app(prog_name="deeplimit")
    except InputError as error:
        print(f"deeplimit: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        print(f"deeplimit: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
