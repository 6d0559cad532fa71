"""Handstamp and the five proxies as they are started for the cases: the files of examples/proxies, with other ports."""

import atexit
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from wire import DEADLINE, Tap, Upstream, send

ROOT = Path(__file__).resolve().parent.parent.parent
OFFERED = ROOT / "examples/proxies"

# Where the browser of the cases believes to be.
SITE = "http://app.example.org"
# What the cases need of the rules. No case waits for a rule of another one.
POLICY = """
[forward_auth]
listen = "127.0.0.1:0"
[browser]
anonymous_limit = "off"
[policy.default]
rotate_every = "never"
max_sessions = 1000
[policy.tag."case:rotates"]
rotate_every = "1s"
rotation_grace = "1s"
[policy.tag."case:limited"]
rate_limit = "3/1h"
[policy.tag."case:fixed"]
ip_allow = ["127.0.0.9/32"]
"""


def wait_for(what, condition):
    """What a condition comes to; waits for it no longer than the deadline."""
    until = time.monotonic() + DEADLINE
    while time.monotonic() < until:
        if (value := condition()) is not None:
            return value
        time.sleep(0.02)
    raise AssertionError(f"still not so after {DEADLINE:.0f} s: {what}")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


class Process:
    """A server that is stopped with the cases, and says what it said if it does not start."""

    def __init__(self, command, folder, env=None):
        self.name, self.log = Path(command[0]).name, folder / "log.txt"
        with open(self.log, "wb") as log:
            self.child = subprocess.Popen(
                command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, start_new_session=True
            )
        atexit.register(self.stop)

    def stop(self):
        if self.child.poll() is None:
            os.killpg(self.child.pid, signal.SIGTERM)
            try:
                self.child.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(self.child.pid, signal.SIGKILL)
                self.child.wait()

    def said(self):
        return self.log.read_text(errors="replace")

    def wait(self, what, condition):
        def alive():
            if self.child.poll() is not None:
                raise AssertionError(f"{self.name} ended with {self.child.returncode}; it said:\n{self.said()}")
            return condition()

        try:
            return wait_for(what, alive)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.name} said:\n{self.said()[-4000:]}") from None


def scratch(name):
    folder = Path(tempfile.mkdtemp(prefix=f"handstamp-{name}-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


class Handstamp:
    """The server itself, with the configuration of the examples."""

    def __init__(self):
        binary = Path(os.environ.get("HANDSTAMP_BIN", ROOT / "target/release/handstamp")).resolve()
        if not binary.is_file():
            sys.exit(f"{binary} is missing: cargo build --release, or name the binary in HANDSTAMP_BIN")
        folder = scratch("server")
        offered = (OFFERED / "handstamp.toml").read_text().replace("http://127.0.0.1:8080\"", f"{SITE}\"")
        (folder / "handstamp.toml").write_text(offered + POLICY)
        command = [str(binary), "serve", "--config", "handstamp.toml", "--listen", "127.0.0.1:0"]
        plain = {name: value for name, value in os.environ.items() if not name.startswith("HANDSTAMP_")}
        self.process = Process(command, folder, plain)

        def addresses():
            said = self.process.said()
            main = re.search(r"^listening on http://(\S+)", said, re.M)
            asked = re.search(r"^forward-auth on http://(\S+)", said, re.M)
            return (main[1], asked[1]) if main and asked else None

        self.address, self.asked = self.process.wait("its two addresses", addresses)
        self.key = (folder / "handstamp-data/access.key").read_text().strip()

    def call(self, method, path, body=None):
        request = urllib.request.Request(
            f"http://{self.address}{path}",
            method=method,
            data=json.dumps(body).encode() if body is not None else None,
            headers={"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
            return json.load(answer)

    def login(self, user="alice", **more):
        return self.call("POST", "/v1/sessions", {"user_id": user, **more})


class Proxy:
    """One of the five, between a client and the application, with a tap on the wire to Handstamp."""

    # A header with nothing to say arrives empty; else it does not arrive.
    says_nothing_aloud = True
    # What of Handstamp's answer it can add to the application's.
    tells_budgets = True
    # What it makes of one in a query.
    semicolon_becomes = ";"

    def __init__(self, handstamp):
        self.upstream = Upstream()
        self.tap = Tap(handstamp.asked)
        self.address = f"127.0.0.1:{free_port()}"
        folder = scratch(self.name) / self.name
        shutil.copytree(OFFERED / self.name, folder)
        ports = {
            "8080": self.address.rsplit(":", 1)[1],
            "3000": self.upstream.address.rsplit(":", 1)[1],
            "7411": handstamp.address.rsplit(":", 1)[1],
            "7412": self.tap.address.rsplit(":", 1)[1],
        }
        for file in folder.rglob("*"):
            if file.is_file():
                file.write_text(re.sub(r"\b(8080|3000|7411|7412)\b", lambda port: ports[port[0]], file.read_text()))
        env = {**os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "XDG_DATA_HOME": str(folder)}
        self.process = Process(self.command(), folder, env)
        self.process.wait("it listens", self.listens)

    def listens(self):
        host, port = self.address.split(":")
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
            return True
        except OSError:
            return None

    def stop(self):
        self.process.stop()
        self.upstream.shutdown()


def installed(program):
    """Where a program is. Without it there is nothing to test, and that is a failure."""
    found = shutil.which(program, path=f"{os.environ.get('HANDSTAMP_PROXIES', '')}:{os.environ['PATH']}:/usr/sbin")
    if not found:
        raise AssertionError(f"{program} is not installed; ./test --only proxies installs it")
    return found


class Nginx(Proxy):
    name = "nginx"
    says_nothing_aloud = False

    def command(self):
        return [installed("nginx"), "-p", ".", "-c", "nginx.conf"]


class Caddy(Proxy):
    name = "caddy"

    def command(self):
        return [installed("caddy"), "run", "--config", "Caddyfile"]


class Traefik(Proxy):
    name = "traefik"
    tells_budgets = False
    semicolon_becomes = "&"

    def command(self):
        return [installed("traefik"), "--configFile=traefik.yml"]

    def listens(self):
        # It opens its door before it knows what is behind.
        return True if super().listens() and send(self.address, "GET", "/public/").status != 404 else None


class Envoy(Proxy):
    name = "envoy"

    def command(self):
        return [installed("envoy"), "-c", "envoy.yaml", "--disable-hot-restart", "--concurrency", "1"]


class HAProxy(Proxy):
    name = "haproxy"

    def command(self):
        return [installed("haproxy"), "-f", "haproxy.cfg"]


PROXIES = [Nginx, Caddy, Traefik, Envoy, HAProxy]
