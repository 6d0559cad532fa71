"""A client that sends exactly what it is told to, an application that says exactly what it received, and a wire between
proxy and Handstamp that can be read, and cut."""

import base64
import hashlib
import json
import socket
import threading
from http.client import HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DEADLINE = 20.0
# Not the address of the proxies, so that it can be told whose address is whose.
CLIENT = "127.0.0.9"
MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Answer:
    """What a client got."""

    def __init__(self, response):
        self.status = response.status
        self.headers = response.getheaders()
        self.body = response.read()

    def all(self, name):
        return [value for known, value in self.headers if known.lower() == name.lower()]

    def one(self, name):
        values = self.all(name)
        if len(values) > 1:
            raise AssertionError(f"{name} came {len(values)} times: {values}")
        return values[0] if values else None

    def json(self):
        return json.loads(self.body)

    def code(self):
        return self.json()["code"]

    def __str__(self):
        return f"{self.status} {self.headers} {self.body[:500]!r}"


def send(address, method, target, headers=(), body=b"", chunked=False, source=CLIENT):
    """One request on a connection of its own. Header lines go out as they are given."""
    with connect(address, source) as wire:
        wire.sendall(head(address, method, target, headers, body, chunked) + framed(body, chunked))
        response = HTTPResponse(wire, method=method)
        response.begin()
        return Answer(response)


def connect(address, source=CLIENT):
    host, port = address.split(":")
    return socket.create_connection((host, int(port)), timeout=DEADLINE, source_address=(source, 0))


def head(address, method, target, headers, body, chunked):
    lines = [f"{method} {target} HTTP/1.1"]
    if not any(name.lower() == "host" for name, _ in headers):
        lines.append(f"Host: {address}")
    if not any(name.lower() == "connection" for name, _ in headers):
        lines.append("Connection: close")
    lines += [f"{name}: {value}" for name, value in headers]
    if chunked:
        lines.append("Transfer-Encoding: chunked")
    elif body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


def framed(body, chunked):
    if not chunked:
        return body
    pieces = [body[at : at + 1000] for at in range(0, len(body), 1000)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def upgrade(address, target, headers=()):
    """Asks for a WebSocket; sends a text and returns the status and what came back."""
    key = base64.b64encode(b"sixteen bytes...").decode()
    asked = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", key)]
    with connect(address) as wire:
        wire.sendall(head(address, "GET", target, [*asked, *headers], b"", False))
        response = HTTPResponse(wire, method="GET")
        response.begin()
        if response.status != 101:
            return response.status, response.read()
        accepted = base64.b64encode(hashlib.sha1(key.encode() + MAGIC).digest()).decode()
        if response.getheader("Sec-WebSocket-Accept") != accepted:
            raise AssertionError("somebody else has answered the upgrade")
        text = b"is anybody there?"
        mask = b"\x01\x02\x03\x04"
        wire.sendall(b"\x81" + bytes([0x80 | len(text)]) + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(text)))
        echoed = b""
        while len(echoed) < 2 + len(text):
            piece = response.fp.read1(1000)
            if not piece:
                break
            echoed += piece
        return 101, echoed[2:]


class Received:
    """A request as the application got it."""

    def __init__(self, handler, body):
        self.method, self.path, self.body = handler.command, handler.path, body
        self.headers = handler.headers.items()

    def identity(self):
        """Our headers, as an application finds them that reads headers as CGI variables: in any spelling."""
        found = {}
        for name, value in self.headers:
            plain = name.upper().replace("-", "_")
            if plain.startswith("X_SESSION") or plain.startswith("X_HANDSTAMP"):
                found.setdefault(plain, []).append(value)
        return found


class Application(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        body = self.body()
        self.server.received.append(Received(self, body))
        if (self.headers.get("Upgrade") or "").lower() == "websocket":
            return self.echo()
        text = json.dumps({"method": self.command, "path": self.path}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.send_header("Set-Cookie", "theirs=1; Path=/")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer

    def body(self):
        if (self.headers.get("Transfer-Encoding") or "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def echo(self):
        key = self.headers["Sec-WebSocket-Key"].encode()
        self.send_response(101)
        self.send_header("Connection", "Upgrade")
        self.send_header("Upgrade", "websocket")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key + MAGIC).digest()).decode())
        self.end_headers()
        self.close_connection = True
        first, length = self.rfile.read(2)
        mask, masked = self.rfile.read(4), self.rfile.read(length & 0x7F)
        self.wfile.write(bytes([first, len(masked)]) + bytes(b ^ mask[i % 4] for i, b in enumerate(masked)))

    def log_message(self, *_):
        pass


class Upstream(ThreadingHTTPServer):
    """The application behind the proxies. It believes whatever it is told, as applications do."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Application)
        self.received = []
        self.address = f"127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def take(self):
        """What has come since the last time."""
        taken, self.received = self.received, []
        return taken


class Tap:
    """Passes bytes on between a proxy and a listener of Handstamp, keeps those that a proxy sends, and can be cut."""

    def __init__(self, target):
        self.target, self.heard, self.up, self.open = target, bytearray(), True, set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            near, _ = self.listener.accept()
            if not self.up:
                near.close()
                continue
            host, port = self.target.split(":")
            far = socket.create_connection((host, int(port)), timeout=None)
            self.open |= {near, far}
            threading.Thread(target=self.pass_on, args=(near, far, self.heard), daemon=True).start()
            threading.Thread(target=self.pass_on, args=(far, near, None), daemon=True).start()

    def pass_on(self, source, sink, heard):
        try:
            while piece := source.recv(65536):
                if heard is not None:
                    heard += piece
                sink.sendall(piece)
        except OSError:
            pass
        for end in (source, sink):
            self.open.discard(end)
            end.close()

    def cut(self):
        self.up = False
        for end in list(self.open):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def mend(self):
        self.up = True

    def take(self):
        """What proxies have sent since the last time."""
        taken = bytes(self.heard)
        self.heard.clear()
        return taken
