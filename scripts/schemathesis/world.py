"""What has to be there for a call to reach something: sessions, users, devices; and a policy that lets them be.

A schema says what an id looks like, not which ids there are. Most of the cases that are meant to be accepted are given one
that there is; the others keep theirs, and are answered 404.
"""

import base64
import hashlib
import json
import os
import re
import time

import requests
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

TARGET = {"method": "POST", "url": "https://app.example/devices"}


class World:
    """The environment in which the cases run, as an application's backend sees it."""

    def __init__(self):
        self.address = os.environ["HANDSTAMP_URL"]
        self.key = os.environ["HANDSTAMP_KEY"]
        self.http = requests.Session()
        self.http.headers["Authorization"] = f"Bearer {self.key}"
        self.count = 0

    def call(self, method, path, body=None, **headers):
        answer = self.http.request(method, self.address + path, json=body, headers=headers, timeout=10)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def session(self):
        """A new session of `ada`, with its token."""
        return self.call("POST", "/v1/sessions", {"user_id": "ada"})

    def refresh_token(self):
        """Of a new session of `ada`."""
        return self.call("POST", "/v1/sessions", {"user_id": "ada", "refresh": True})["refresh_token"]

    def visitor(self):
        """A browser in which `eve` has just logged in."""
        self.count += 1
        ip = f"10.{self.count >> 16 & 255}.{self.count >> 8 & 255}.{self.count & 255}"
        made = self.call("POST", "/v1/sessions", {"user_id": "eve"})
        csrf_token = next(re.match("XSRF-TOKEN=([^;]+)", cookie)[1] for cookie in made["set_cookie"] if "XSRF" in cookie)
        return {"id": made["session"]["id"], "token": made["token"], "csrf_token": csrf_token, "ip": ip}

    def login_code(self, back):
        """A one-time code of a login that leads back there, as the page's backend exchanges it."""
        made = self.call("POST", "/v1/sessions", {"user_id": "eve", "login": {"redirect_uri": back}})
        return {"code": made["login"]["code"], "origin": "/".join(back.split("/")[:3])}

    def registration(self):
        """All that a session of ada's has to send to get a device that nobody has seen yet."""
        made = self.session()
        challenge = self.call("POST", "/v1/devices/challenge", {"token": made["token"]})["challenge"]
        self.count += 1
        key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"device %d" % self.count).digest())
        public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        header = {"alg": "EdDSA", "typ": "devproof+jwt", "jwk": {"kty": "OKP", "crv": "Ed25519", "x": text(public)}}
        claims = {
            "jti": challenge,
            "htm": TARGET["method"],
            "htu": TARGET["url"],
            "iat": int(time.time()),
            "sih": text(hashlib.sha256(made["session"]["id"].encode()).digest()),
        }
        signed = ".".join(text(json.dumps(part).encode()) for part in (header, claims))
        proof = f"{signed}.{text(key.sign(signed.encode()))}"
        return {"token": made["token"], "device": {"proof": proof, "remember": True}, **TARGET}

    def another(self, name):
        """A name like this one that has not been used yet."""
        self.count += 1
        return f"{name[:200]}.{self.count}"

    def device(self):
        """The id of a device that ada is known to have."""
        return self.call("POST", "/v1/devices", self.registration())["session"]["device"]["id"]

    def relax(self):
        """Takes back the policy that a case has put in force: the next cases are not about it."""
        self.call("PUT", "/v1/policies", {"default": {}}, **{"If-Match": "*"})


def text(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
