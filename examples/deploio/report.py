"""The scheduled job: one line, then it is done."""

import os

print(f"report: release {os.environ.get('LOCKSTEP_RELEASE', 'local')} is live and says: {os.environ.get('GREETING')}")
