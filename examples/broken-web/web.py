"""A web part that starts, says so, and never listens on its port."""

import signal

print("web: I am up, but I forgot to listen", flush=True)
signal.sigwait({signal.SIGTERM})
