"""Starts a server, has it make tokens with each algorithm, and lets everybody verify everybody's.

Ours go to five libraries and are refused by each when they were changed, are for somebody else, of somebody else or made for
another purpose; what is sealed in them is opened. Theirs, signed with our keys, go to our own reader and to the real server.
"""

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

from libraries import ALGORITHMS, Helper, Jose, Joserfc, JsonWebToken, Jwcrypto, Key, Place, PyJwt, b64, unb64

ISSUER = "https://auth.example.org"
DATA = {"plan": "pro", "seats": [1, 2.5, None], "name": "Jürgen \U0001f600", "big": 9007199254740991}
CLAIMS = {"plan": "pro", "limits": {"a": [1, "x", None, True]}, "naïve": "é"}
AUDIENCES = ["billing", "default/prd"]


class Server:
    """A server of its own, in a folder of its own, under a master key that this made."""

    def __init__(self, binary, folder):
        self.binary, self.folder, self.master = binary, folder, secrets.token_hex(32)
        self.env = {
            **os.environ,
            "HANDSTAMP_SERVER__MASTER_KEY": self.master,
            "HANDSTAMP_TOKENS__ISSUER": ISSUER,
            "HANDSTAMP_SERVER__DATA_DIR": folder,
        }
        with open(os.path.join(folder, "said"), "wb") as said:
            command = [binary, "serve", "--listen", "127.0.0.1:0"]
            self.process = subprocess.Popen(command, env=self.env, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        until = time.monotonic() + 30
        while not (found := re.search(rb"listening on (http://[0-9.]+:[0-9]+)", self.said())):
            assert self.process.poll() is None and time.monotonic() < until, self.said().decode()
            time.sleep(0.05)
        self.address = found[1].decode()
        with open(os.path.join(folder, "access.key")) as file:
            self.key = file.read().strip()

    def said(self):
        with open(os.path.join(self.folder, "said"), "rb") as file:
            return file.read()

    def call(self, method, path, body=None, key=True):
        headers = {"authorization": f"Bearer {self.key}"} if key else {}
        data = None
        if body is not None:
            headers["content-type"], data = "application/json", json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data=data, headers=headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def verdict(self, token, audience=None):
        ask = {"token": token, **({"audience": audience} if audience else {})}
        answer = self.call("POST", "/v1/sessions/validate", ask)
        return "valid" if answer["valid"] else answer["code"]

    def copy(self):
        """A copy of the store, made while the server runs."""
        path = os.path.join(self.folder, "copy.db")
        command = [self.binary, "backup", path, "--listen", self.address.removeprefix("http://")]
        subprocess.run(command, env=self.env, check=True, capture_output=True, timeout=60)
        return path

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(timeout=30) == 0, self.said().decode()


counts = {"taken": 0, "refused": 0, "opened": 0}


def refused(what, deed):
    """What others must not take."""
    try:
        deed()
    except (AssertionError, AttributeError, LookupError, NameError, OSError, TypeError, subprocess.SubprocessError):
        raise  # a mistake of ours is no refusal
    except Exception:
        counts["refused"] += 1
        return
    raise SystemExit(f"interop: {what} was taken")


def taken(what, claims, expected):
    if claims != expected:
        raise SystemExit(f"interop: {what} was read as {claims}, and says {expected}")
    counts["taken"] += 1


def payload(token):
    return json.loads(unb64(token.split(".")[1]))


def changed(token):
    """One byte of the signature, and the user in what it signs."""
    header, body, signature = token.split(".")
    bits = bytearray(unb64(signature))
    bits[10] ^= 1
    yield f"{header}.{body}.{b64(bytes(bits))}"
    other = {**json.loads(unb64(body)), "sub": "eve"}
    yield f"{header}.{b64(json.dumps(other).encode())}.{signature}"
    yield f"{header}.{body}."
    none = {**json.loads(unb64(header)), "alg": "none"}
    yield f"{b64(json.dumps(none).encode())}.{body}."


def ours_to_them(server, place, library, tokens, keys):
    for alg in ALGORITHMS:
        token, own = tokens[alg], keys[alg]
        expected = payload(token)
        for audience in AUDIENCES:
            taken(f"{alg} by {library.name}", library.verify(place, token, audience), expected)
        for audience in ["default", "default/prd/", "shipping"]:
            refused(f"{alg} for {audience} by {library.name}", lambda: library.verify(place, token, audience))
        refused(f"{alg} of another by {library.name}", lambda: library.verify(place, token, AUDIENCES[0], ISSUER))
        for other in changed(token):
            refused(f"a changed {alg} by {library.name}", lambda: library.verify(place, other, AUDIENCES[0]))
        # Truly signed, and for another purpose, over, or not good yet.
        now = int(time.time())
        for typ, more in [
            ("statuslist+jwt", {}),
            ("at+jwt", {"iat": now - 600, "nbf": now - 600, "exp": now - 300}),
            ("at+jwt", {"nbf": now + 300, "exp": now + 600}),
        ]:
            header = {"alg": alg, "kid": own.kid, "typ": typ}
            other = PyJwt().sign(own, header, {**expected, **more})
            refused(f"{alg} as {typ} with {more} by {library.name}", lambda: library.verify(place, other, AUDIENCES[0]))
        if hasattr(library, "open"):
            data = expected["data"]
            assert library.open(place, data) == DATA, f"{library.name} opened other data"
            counts["opened"] += 1
            front, tag = data.rsplit(".", 1)
            bits = bytearray(unb64(tag))
            bits[0] ^= 1
            refused(f"changed data by {library.name}", lambda: library.open(place, f"{front}.{b64(bytes(bits))}"))


def theirs_to_us(server, place, helper, library, tokens, keys):
    for alg in ALGORITHMS:
        own = keys[alg]
        header = {"alg": alg, "kid": own.kid, "typ": "at+jwt"}
        claims = {**payload(tokens[alg]), "jti": secrets.token_hex(8)}
        token = library.sign(own, header, claims)
        taken(f"{alg} by {library.name}, read by us", helper.read(place, token), claims)
        verdict = server.verdict(token)
        assert verdict == "valid", f"{alg} by {library.name}: the server says {verdict}"
        verdict = server.verdict(token, "shipping")
        assert verdict == "token_audience_mismatch", f"{alg} by {library.name}: the server says {verdict}"
        for other in changed(token):
            refused(f"a changed {alg} of {library.name} by us", lambda: helper.read(place, other))
            assert server.verdict(other) == "token_malformed", f"a changed {alg} of {library.name}"
        other = library.sign(own, {**header, "typ": "JWT"}, claims)
        refused(f"another {alg} of {library.name} by us", lambda: helper.read(place, other))
        assert server.verdict(other) == "token_malformed", f"another {alg} of {library.name}"
        other = library.sign(own, header, {**claims, "exp": claims["iat"]})
        assert server.verdict(other) == "token_expired", f"an old {alg} of {library.name}"
        other = library.sign(own, {**header, "kid": "unknown"}, claims)
        assert server.verdict(other) == "token_malformed", f"an {alg} of {library.name} by an unknown key"
    if hasattr(library, "seal"):
        own = keys["dir"]
        header = {"alg": "dir", "enc": "A256GCM", "kid": own.kid, "typ": "session+jwe"}
        sealed = library.seal(own, header, DATA)
        assert helper.open(own, sealed) == DATA, f"we opened other data than {library.name} sealed"
        counts["opened"] += 1
        for other in [{**header, "typ": "at+jwt"}, {**header, "kid": "x"}]:
            refused(f"other data of {library.name} by us", lambda: helper.open(own, library.seal(own, other, DATA)))
        refused(f"changed data of {library.name} by us", lambda: helper.open(own, sealed[:-3] + "AAA"))


def main(binary, helper):
    helper = Helper(helper)
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        server = Server(binary, folder)
        try:
            run(server, helper)
            server.stop()
        finally:
            if server.process.poll() is None:
                server.process.kill()
                server.process.wait()


def run(server, helper):
    for alg in ["ES256", "RS256"]:
        server.call("POST", "/v1/keys/signing/rotate", {"algorithm": alg})
    session = server.call("POST", "/v1/sessions", {"user_id": "ada", "tags": ["role:admin"], "data": DATA})["session"]
    tokens = {}
    for alg in ALGORITHMS:
        ask = {"algorithm": alg, "audience": AUDIENCES, "lifetime": 300, "claims": CLAIMS}
        tokens[alg] = server.call("POST", f"/v1/sessions/{session['id']}/access-tokens", ask)["token"]
        said = payload(tokens[alg])
        assert said["sid"] == session["id"] and said["plan"] == "pro" and said["iss"] == f"{ISSUER}/default/prd", said
        assert server.verdict(tokens[alg]) == "valid"
    place = Place(
        server.address,
        f"{ISSUER}/default/prd",
        server.call("GET", "/.well-known/jwks.json", key=False),
        server.call("GET", "/v1/keys/data"),
    )
    stored = helper.ask(do="keys", store=server.copy(), master=server.master)["keys"]
    keys = {key["alg"]: Key(**key) for key in stored}
    assert sorted(keys) == sorted([*ALGORITHMS, "dir"]), sorted(keys)
    libraries = [Jose(), PyJwt(), Joserfc(), Jwcrypto(), JsonWebToken(helper)]
    for library in libraries:
        before = dict(counts)
        ours_to_them(server, place, library, tokens, keys)
        theirs_to_us(server, place, helper, library, tokens, keys)
        told = ", ".join(f"{counts[name] - before[name]} {name}" for name in counts)
        print(f"{library.name:13} {told}", flush=True)


main(*sys.argv[1:])
