"""The browser that tests drive: Debian's Chromium, by the variable CHROMIUM or on PATH.

`python -m tests.browser.chromium` says where it is, or how to get it.
"""

import os
import shutil
import sys
from pathlib import Path

VARIABLE = "CHROMIUM"
NAMES = ("chromium", "chromium-browser", "google-chrome")
MISSING = (
    f"No Chromium: neither {VARIABLE} names one nor is one of {', '.join(NAMES)} on PATH.\n"
    "On Debian and Ubuntu: apt-get install chromium"
)


def find_chromium() -> Path | None:
    named = os.environ.get(VARIABLE)
    found = shutil.which(named) if named else next(filter(None, map(shutil.which, NAMES)), None)
    return Path(found) if found else None


def main() -> int:
    found = find_chromium()
    print(found or MISSING, file=sys.stdout if found else sys.stderr)
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(main())
