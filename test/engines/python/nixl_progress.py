"""Has NIXL's progress thread sleep between two looks at its sockets.

usage: nixl_progress.py SITE_PACKAGES

NIXL 1.5.1 gives that thread no pause (`pthrDelay = 0`): one core per engine would be busy with it, and this is run where
two engines, the router and the tests share two. With this, the pause is 1 ms (the field is in microseconds) unless
NIXL_PTHR_DELAY_US says otherwise. Where NIXL is not installed there is nothing to do.
"""

import os
import sys
from pathlib import Path

SPIN = "agent_config.pthrDelay = 0\n"
PAUSE = 'agent_config.pthrDelay = int(__import__("os").environ.get("NIXL_PTHR_DELAY_US", "1000"))\n'


def main():
    path = Path(sys.argv[1]) / "nixl_cu13" / "_api.py"
    if not path.exists():
        return
    text = path.read_text(encoding="utf-8")
    if text.count(SPIN) != 1:
        sys.exit(f"{path}: expected one line '{SPIN.strip()}'; is this another version of NIXL?")
    # A new file in place of the old: that one may be a hard link to the installer's cache.
    patched = path.with_suffix(".patched")
    patched.write_text(text.replace(SPIN, PAUSE), encoding="utf-8")
    os.replace(patched, path)


if __name__ == "__main__":
    main()
