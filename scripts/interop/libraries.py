"""Five libraries behind one face: `verify` a token, `open` sealed data, `sign` claims and `seal` data with keys of ours.

Verifying and opening is what docs/verify-elsewhere.md shows; a refusal is an exception.
"""

import base64
import json
import os
import subprocess
import warnings

import jwt as pyjwt
import with_joserfc
import with_jwcrypto
import with_pyjwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from joserfc import jwe as joserfc_jwe
from joserfc import jwk as joserfc_jwk
from joserfc import jws as joserfc_jws
from jwcrypto import jwe as jwcrypto_jwe
from jwcrypto import jwk as jwcrypto_jwk
from jwcrypto import jws as jwcrypto_jws

# joserfc would rather read `Ed25519` (RFC 9864), which the others do not know yet.
warnings.filterwarnings("ignore", message="EdDSA is deprecated")

ALGORITHMS = ["EdDSA", "ES256", "RS256"]


class Refused(Exception):
    """A library, or our own code, did not take a token."""


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Key:
    """One of the server's keys, its secret part included."""

    def __init__(self, kid, alg, secret):
        self.kid, self.alg, self.secret = kid, alg, unb64(secret)
        if alg == "EdDSA":
            self.private = ed25519.Ed25519PrivateKey.from_private_bytes(self.secret)
        elif alg == "ES256":
            self.private = ec.derive_private_key(int.from_bytes(self.secret, "big"), ec.SECP256R1())
        elif alg == "RS256":
            self.private = serialization.load_der_private_key(self.secret, None)
        else:
            self.private = None

    def jwk(self):
        if self.private is None:
            return {"kty": "oct", "kid": self.kid, "k": b64(self.secret)}
        made = json.loads(jwcrypto_jwk.JWK.from_pyca(self.private).export_private())
        return {**made, "kid": self.kid}

    def der(self):
        """As jsonwebtoken wants it: of RSA without the PKCS #8 around it."""
        known = serialization.PrivateFormat
        form = known.TraditionalOpenSSL if self.alg == "RS256" else known.PKCS8
        return self.private.private_bytes(serialization.Encoding.DER, form, serialization.NoEncryption())


def compact(value):
    return json.dumps(value, separators=(",", ":")).encode()


class Place:
    """Where tokens come from: the server, and what it publishes."""

    def __init__(self, server, issuer, jwks, data_keys):
        self.server, self.issuer, self.jwks, self.data_keys = server, issuer, jwks, data_keys


class PyJwt:
    name = "PyJWT"

    def verify(self, place, token, audience, issuer=None):
        return with_pyjwt.verifier(place.server, issuer or place.issuer, audience)(token)

    def sign(self, key, header, claims):
        more = {name: value for name, value in header.items() if name != "alg"}
        return pyjwt.encode(claims, key.private, algorithm=header["alg"], headers=more)


class Joserfc:
    name = "joserfc"

    def verify(self, place, token, audience, issuer=None):
        return with_joserfc.verified(token, place.jwks, issuer or place.issuer, audience)

    def open(self, place, data):
        return with_joserfc.opened(data, place.data_keys)

    def sign(self, key, header, claims):
        own = joserfc_jwk.import_key(key.jwk())
        return joserfc_jws.serialize_compact(header, compact(claims), own, algorithms=ALGORITHMS)

    def seal(self, key, header, value):
        own = joserfc_jwk.import_key(key.jwk())
        return joserfc_jwe.encrypt_compact(header, compact(value), own, algorithms=["dir", "A256GCM"])


class Jwcrypto:
    name = "jwcrypto"

    def verify(self, place, token, audience, issuer=None):
        return with_jwcrypto.verified(token, place.jwks, issuer or place.issuer, audience)

    def open(self, place, data):
        return with_jwcrypto.opened(data, place.data_keys)

    def sign(self, key, header, claims):
        made = jwcrypto_jws.JWS(compact(claims))
        made.add_signature(jwcrypto_jwk.JWK(**key.jwk()), None, json.dumps(header))
        return made.serialize(compact=True)

    def seal(self, key, header, value):
        made = jwcrypto_jwe.JWE(compact(value), protected=json.dumps(header), algs=["dir", "A256GCM"])
        made.add_recipient(jwcrypto_jwk.JWK(**key.jwk()))
        return made.serialize(compact=True)


class Jose:
    name = "jose"

    def _ask(self, **ask):
        script = os.path.join(os.environ["INTEROP_SHOWN"], "jose.mjs")
        said = subprocess.run(["node", script], input=json.dumps([ask]), capture_output=True, text=True, timeout=60)
        assert said.returncode == 0, said.stderr
        [answer] = json.loads(said.stdout)
        if "bad" in answer:
            raise Refused(answer["bad"])
        return answer["good"]

    def verify(self, place, token, audience, issuer=None):
        ask = {"issuer": issuer or place.issuer, "audience": audience, "token": token}
        local = {"do": "verify_local", "jwks": place.jwks, **ask}
        try:
            said = self._ask(do="verify", server=place.server, **ask)
        except Refused:
            # The set at hand is no way around it.
            assert self._refuses(**local), "taken with the set at hand"
            raise
        assert not self._refuses(**local), "refused with the set at hand"
        assert self._ask(**local) == said
        return said

    def _refuses(self, **ask):
        try:
            self._ask(**ask)
        except Refused:
            return True
        return False

    def open(self, place, data):
        return self._ask(do="open", data=data, data_keys=place.data_keys)

    def sign(self, key, header, claims):
        return self._ask(do="sign", key=key.jwk(), header=header, claims=claims)

    def seal(self, key, header, value):
        return self._ask(do="seal", key=key.jwk(), header=header, value=value)


class Helper:
    """The example `interop`: our own code, and jsonwebtoken."""

    def __init__(self, binary):
        self.binary = binary

    def ask(self, **ask):
        said = subprocess.run([self.binary], input=json.dumps(ask), capture_output=True, text=True, timeout=60)
        assert said.returncode == 0, said.stderr
        answer = json.loads(said.stdout)
        if "bad" in answer:
            raise Refused(answer["bad"])
        return answer.get("good", answer)

    def read(self, place, token):
        return self.ask(do="read", token=token, jwks=place.jwks)

    def open(self, key, data):
        return self.ask(do="open", kid=key.kid, secret=b64(key.secret), data=data)


class JsonWebToken:
    name = "jsonwebtoken"

    def __init__(self, helper):
        self.helper = helper

    def verify(self, place, token, audience, issuer=None):
        issuer = issuer or place.issuer
        return self.helper.ask(do="verify", token=token, jwks=place.jwks, issuer=issuer, audience=audience)

    def sign(self, key, header, claims):
        return self.helper.ask(do="sign", secret=b64(key.der()), claims=claims, **header)["token"]
