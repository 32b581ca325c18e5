"""A worker that gives up at once."""

import os
import sys

sys.exit(f"crasher {os.environ.get('LOCKSTEP_RELEASE', 'local')}: I give up")
