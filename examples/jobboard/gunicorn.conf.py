"""gunicorn reads this file by itself. The hooks run in its parent process: once for the web, not once per worker."""

from app import parts

graceful_timeout = 10  # seconds for requests in flight after SIGTERM; the platform's own limit is 15
control_socket_disable = True


def when_ready(_server: object) -> None:
    parts.record("web", "start")


def on_exit(_server: object) -> None:
    parts.record("web", "stop")
