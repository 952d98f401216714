"""The page, for a browser on this machine and nobody else."""

from __future__ import annotations

import json
import secrets
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn

from ..report import render_page
from .following import Follower, Seen

ALIVE = 10.0
"""After how many seconds without news a browser is asked whether it is still there."""

HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""What every answer says: nobody else is to keep it, frame it, or learn its address."""


class Server(ThreadingMixIn, TCPServer):
    """Serves what a follower sees, at an address of this machine with a secret word in it.

    Other programs on the machine, and pages of other sites in the same browser, do not know the
    word; and a site that has its name lead to this machine is refused for its name.

    Parameters
    ----------
    follower : Follower
        What it shows.
    port : int
        Where; 0 for any that is free.

    Raises
    ------
    OSError
        If the port is taken.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, follower: Follower, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.follower = follower
        self.word = secrets.token_urlsafe(24)

    @property
    def hosts(self) -> tuple[str, str]:
        """The names by which browsers may ask for it."""
        port = self.server_address[1]
        return f"127.0.0.1:{port}", f"localhost:{port}"

    @property
    def address(self) -> str:
        """The address of the page."""
        return f"http://{self.hosts[0]}/{self.word}/"


class _Handler(BaseHTTPRequestHandler):
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        """Answer with the page, or with what is new as long as the browser listens."""
        word, slash, name = self.path.partition("?")[0].removeprefix("/").partition("/")
        if self.headers.get("Host") not in self.server.hosts:
            self._refuse(HTTPStatus.MISDIRECTED_REQUEST)
        elif not secrets.compare_digest(word.encode(), self.server.word.encode()):
            self._refuse(HTTPStatus.FORBIDDEN)
        elif slash and name == "":
            self._page()
        elif name == "events":
            self._events()
        else:
            self._refuse(HTTPStatus.NOT_FOUND)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the terminal for what the script prints."""

    def _page(self) -> None:
        page = render_page(self.server.follower.seen.data, live=True).encode()
        self._begin(HTTPStatus.OK, "text/html; charset=utf-8")
        self.wfile.write(page)

    def _events(self) -> None:
        self._begin(HTTPStatus.OK, "text/event-stream")
        last: Seen | None = None
        try:
            while True:
                seen = self.server.follower.wait(last, ALIVE)
                news = ": still here" if seen is last else f"data: {json.dumps(seen.told())}"
                self.wfile.write(f"{news}\n\n".encode())
                last = seen
        except OSError:  # the browser has gone
            self.close_connection = True

    def _refuse(self, status: HTTPStatus) -> None:
        self._begin(status, "text/plain")
        self.wfile.write(f"{status.phrase}\n".encode())

    def _begin(self, status: HTTPStatus, kind: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, **HEADERS}.items():
            self.send_header(name, value)
        self.end_headers()
