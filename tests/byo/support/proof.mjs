// A device as a browser is one: a P-256 key that signs proofs as docs/devices.md describes them, and for the tests every
// way to sign a wrong one.
import { createHash, webcrypto } from "node:crypto";

const { subtle } = webcrypto;
const b64 = (data) => Buffer.from(data).toString("base64url");

export class Device {
  static async make() {
    const own = new Device();
    own.pair = await subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, false, ["sign", "verify"]);
    const { kty, crv, x, y } = await subtle.exportKey("jwk", own.pair.publicKey);
    own.jwk = { kty, crv, x, y };
    // RFC 7638: the members in the order of the alphabet.
    own.thumbprint = b64(createHash("sha256").update(JSON.stringify({ crv, kty, x, y })).digest());
    return own;
  }

  /**
   * A compact JWS. `challenge`, `method`, `url` and, when there is one, `session` (its id) as docs/devices.md says; `key`
   * puts the public key into the header. `header` and `claims` replace or, where `undefined`, take away members.
   */
  async sign({ challenge, method, url, session, key = false, header = {}, claims = {} }) {
    const front = { alg: "ES256", typ: "devproof+jwt", ...(key && { jwk: this.jwk }), ...header };
    const said = {
      jti: challenge,
      htm: method,
      htu: url,
      iat: Math.floor(Date.now() / 1000),
      ...(session && { sih: b64(createHash("sha256").update(session).digest()) }),
      ...claims,
    };
    const signed = `${b64(JSON.stringify(front))}.${b64(JSON.stringify(said))}`;
    const signature = await subtle.sign({ name: "ECDSA", hash: "SHA-256" }, this.pair.privateKey, Buffer.from(signed));
    return `${signed}.${b64(signature)}`;
  }
}

/** The same signature, DER instead of 64 bytes. */
export function asDer(proof) {
  const [header, body, signature] = proof.split(".");
  const both = Buffer.from(signature, "base64url");
  const whole = (part) => {
    const short = part.subarray(part.findIndex((byte) => byte !== 0));
    const signed = short[0] & 0x80 ? Buffer.concat([Buffer.of(0), short]) : short;
    return Buffer.concat([Buffer.of(2, signed.length), signed]);
  };
  const inner = Buffer.concat([whole(both.subarray(0, 32)), whole(both.subarray(32))]);
  return `${header}.${body}.${b64(Buffer.concat([Buffer.of(0x30, inner.length), inner]))}`;
}

/** One bit of the signature is another. */
export function changed(proof) {
  const [header, body, signature] = proof.split(".");
  const bytes = Buffer.from(signature, "base64url");
  bytes[20] ^= 1;
  return `${header}.${body}.${b64(bytes)}`;
}
