#!/usr/bin/env python3
"""The application behind the proxies of these examples: it tells what it was told.

    ./upstream.py [ADDRESS:PORT]     127.0.0.1:3000 unless said otherwise

It knows nothing of cookies and tokens: who it is stands in five headers, which only the proxy can have written.
"""

import base64
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

DATASETS = ["penguins", "iris"]


def who(headers):
    """What the proxy says of the session; None where nobody was asked."""
    if not headers.get("X-Session-Id"):
        return None
    # Each text is percent-encoded; lists are separated by commas.
    listed = lambda name: [unquote(text) for text in headers.get(name, "").split(",") if text]
    data = headers.get("X-Session-Data", "")
    return {
        "id": headers["X-Session-Id"],
        "user": unquote(headers["X-Session-User"]),
        "tags": listed("X-Session-Tags"),
        "groups": listed("X-Session-Groups"),
        # base64url without padding; empty unless the proxy asked for it with data=1.
        "data": json.loads(base64.urlsafe_b64decode(data + "=" * (-len(data) % 4))) if data else None,
    }


class Application(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        said = {"method": self.command, "path": self.path, "session": who(self.headers), "body": len(body)}
        if self.path == "/v1/datasets":
            said["datasets"] = DATASETS
        text = json.dumps(said, indent=2).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    host, port = (sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:3000").rsplit(":", 1)
    server = ThreadingHTTPServer((host, int(port)), Application)
    print(f"the application listens on http://{host}:{server.server_address[1]}", flush=True)
    server.serve_forever()
