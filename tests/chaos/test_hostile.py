#!/usr/bin/env python3
"""Bad peers and strangers, in short windows: what does not depend on speed must hold (hostile.c --check)."""
import os
import subprocess
import sys

import chaos

if __name__ == "__main__":
    sys.exit(subprocess.run([chaos.program("hostile"), "--check"], stdin=subprocess.DEVNULL,
                            timeout=float(os.environ.get("WEIR_HOSTILE_TIMEOUT", "590"))).returncode)
