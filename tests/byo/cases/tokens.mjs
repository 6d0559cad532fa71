// Stateless tokens: made, verified with the keys of getJwks by the libraries that their applications use, refused after the
// session's end, and keys that are replaced.
import assert from "node:assert/strict";
import { near, now, pause, seconds, until } from "../support/world.mjs";

const ISSUER = "handstamp:default/prd";
const AUDIENCE = "default/prd";
const CLAIMS = { tenant: 7, plan: "pro", limits: { a: [1, "x", null] } };
const part = (token, place) => JSON.parse(Buffer.from(token.split(".")[place], "base64url"));
const jwks = (w) => w.good("session.getJwks", {});
const kids = async (w) => (await jwks(w)).keys.map(({ kid }) => kid);
const make = (w, data) => w.good("session.createStatelessToken", data);
const mine = ({ own }) => ({ userId: own.user_id });

/** Verified by a library with the keys that the client gets; the claims. */
async function verified(w, token, { issuer = ISSUER, audience = AUDIENCE } = {}) {
  const { claims, refused } = await w.client.verify(token, await jwks(w), { issuer, audience });
  assert.ok(claims, `refused: ${refused}`);
  return claims;
}

const rotate = (w, begin, end) =>
  w.good("session.rotateStatelessTokenKey", { secsBeforeNewKeyBecomesDefault: begin, secsBeforeExistingKeysAreDeactivated: end });

export const cases = [
  [
    "keys: RSA alone, in public as well",
    async (w) => {
      const { keys } = await jwks(w);
      assert.ok(keys.length >= 1);
      for (const key of keys) {
        assert.deepEqual([key.kty, key.use, key.alg, key.e], ["RSA", "sig", "RS256", "AQAB"]);
        assert.ok(Buffer.from(key.n, "base64url").length >= 256, "2048 bits or more");
      }
      const own = (await w.server.api("GET", "/.well-known/jwks.json")).keys.filter(({ kty }) => kty === "RSA");
      assert.deepEqual(own.map(({ kid, n }) => [kid, n]), keys.map(({ kid, n }) => [kid, n]));
      assert.deepEqual(await kids(w), await kids(w), "asking again makes no other key");
    },
  ],
  [
    "a token with nothing but a user",
    async (w) => {
      const one = await w.session({ tags: ["role:admin"] });
      for (const nulls of [{}, w.orNull({ sessionId: null, customClaims: null, issuer: null, audience: null, notBeforeUnixtime: null, lifetimeSecs: null })]) {
        const { statelessToken, expiresAt } = await make(w, { ...mine(one), ...nulls });
        assert.equal(part(statelessToken, 0).alg, "RS256");
        const claims = await verified(w, statelessToken);
        assert.deepEqual([claims.sub, claims.sid, claims.exp], [one.own.user_id, one.sessionId, expiresAt]);
        assert.ok(expiresAt > now() && expiresAt <= now() + 301);
        assert.equal(await w.server.verdict(statelessToken), "valid");
      }
    },
  ],
  [
    "a token with all that can be said",
    async (w) => {
      const [one, other] = [await w.session(), await w.session()];
      const notBeforeUnixtime = now() - 5;
      const all = { sessionId: one.sessionId, customClaims: CLAIMS, issuer: "https://auth.example.org", audience: "billing", lifetimeSecs: 60 };
      const { statelessToken, expiresAt } = await make(w, { ...mine(one), ...all });
      const claims = await verified(w, statelessToken, all);
      assert.deepEqual([claims.iss, claims.aud, claims.sid], [all.issuer, all.audience, one.sessionId]);
      for (const [name, value] of Object.entries(CLAIMS)) assert.deepEqual(claims[name], value);
      near(expiresAt, now() + 60);
      for (const wrong of [{ ...all, audience: "shipping" }, { ...all, issuer: ISSUER }]) {
        const { refused } = await w.client.verify(statelessToken, await jwks(w), wrong);
        assert.ok(refused, JSON.stringify(wrong));
      }
      const later = await make(w, { ...mine(one), notBeforeUnixtime: now() + 120 });
      const { nbf } = part(later.statelessToken, 1);
      near(nbf, now() + 120);
      assert.ok((await w.client.verify(later.statelessToken, await jwks(w), { issuer: ISSUER, audience: AUDIENCE })).refused, "not good yet");
      assert.equal(await w.server.verdict(later.statelessToken), "token_not_yet_valid");
      const audience = await make(w, { ...mine(other), audience: "billing" });
      assert.equal(await w.server.verdict(audience.statelessToken), "token_audience_mismatch");
      assert.equal(await w.server.verdict(audience.statelessToken, { audience: "billing" }), "valid");
      await w.call("session.createStatelessToken", { ...mine(one), notBeforeUnixtime });
    },
  ],
  [
    "without a session's id: of the one that was active last",
    async (w) => {
      const userId = w.user();
      const [first, second] = [await w.session({ userId }), await w.session({ userId })];
      const of = async () => part((await make(w, { userId })).statelessToken, 1).sid;
      assert.equal(await of(), second.sessionId);
      const { created_at } = second.own;
      await until("the clock goes on", () => Date.now() > Date.parse(created_at) + 5 || pause(5));
      await w.good("session.validate", { sessionToken: first.sessionToken });
      assert.equal(await of(), first.sessionId);
      // Somebody in the user's place is not the user.
      await w.server.api("POST", "/v1/sessions", { user_id: userId, actor: { id: "grace", reason: "ticket 4711" } });
      assert.equal(await of(), first.sessionId);
      await w.good("session.invalidateById", { sessionId: first.sessionId });
      assert.equal(await of(), second.sessionId);
      await w.good("session.invalidateById", { sessionId: second.sessionId });
      await w.bad("session.createStatelessToken", { userId }, "TokenCreationFailed", undefined, /^\w+: /);
    },
  ],
  [
    "what gets none",
    async (w) => {
      const [one, other, gone] = [await w.session(), await w.session(), await w.session()];
      await w.good("session.invalidateById", { sessionId: gone.sessionId });
      const full = await w.session({ metadata: "x".repeat(6_000) });
      const failed = (data, pattern = /^\w+: \S/) => w.bad("session.createStatelessToken", data, "TokenCreationFailed", undefined, pattern);
      await failed({ userId: w.user("nobody") }, /^not_found: /);
      await failed({ ...mine(one), sessionId: other.sessionId }, /^not_found: /);
      await failed({ ...mine(gone), sessionId: gone.sessionId }, /^session_\w+: /);
      await failed(mine(gone));
      for (const sessionId of ["none", "", one.sessionId.slice(0, -4) + "AAAA"]) await failed({ ...mine(one), sessionId });
      for (const lifetimeSecs of [0, -1, 86_401, 10 ** 9]) await failed({ ...mine(one), lifetimeSecs });
      // Within reason, the policy shortens it, and the answer says so.
      near((await make(w, { ...mine(one), lifetimeSecs: 86_400 })).expiresAt, now() + 300);
      for (const notBeforeUnixtime of [now() + 10 * 86400, 10 ** 15]) await failed({ ...mine(one), notBeforeUnixtime });
      for (const name of ["sub", "exp", "iss", "aud", "sid", "iat", "jti", "nbf"]) await failed({ ...mine(one), customClaims: { [name]: "x" } });
      for (const customClaims of ["text", 7, [1]]) {
        const { type } = await w.call("session.createStatelessToken", { ...mine(one), customClaims });
        assert.ok(["TokenCreationFailed", "UnexpectedError"].includes(type), JSON.stringify(customClaims));
      }
      await failed({ ...mine(one), customClaims: { long: "x".repeat(4_000) } });
      await failed(mine(full), /^data_too_large: /);
      await w.bad("session.createStatelessToken", { userId: "" }, "UnexpectedError", 400, /^invalid_request: \/data\/userId: /);
    },
  ],
  [
    "after the end of its session our own validation refuses it",
    async (w) => {
      const one = await w.session();
      const { statelessToken } = await make(w, mine(one));
      assert.equal(await w.server.verdict(statelessToken), "valid");
      await w.good("session.invalidateByToken", { sessionToken: one.sessionToken });
      assert.equal(await w.server.verdict(statelessToken), "session_revoked");
      await verified(w, statelessToken); // who only looks at the signature cannot know
    },
  ],
  [
    "a new key at once, the old one for an hour",
    async (w) => {
      const one = await w.session();
      const { statelessToken: old } = await make(w, mine(one));
      const before = part(old, 0).kid;
      const said = await rotate(w, 0, 3600);
      near(said.newKeyBecomesDefaultAt, now());
      near(said.existingKeysExpireAt, now() + 3600);
      assert.ok((await kids(w)).includes(said.newKeyId) && (await kids(w)).includes(before), "both are published");
      const { statelessToken: fresh } = await make(w, mine(one));
      assert.equal(part(fresh, 0).kid, said.newKeyId);
      for (const token of [old, fresh]) {
        await verified(w, token);
        assert.equal(await w.server.verdict(token), "valid");
      }
      const own = Object.fromEntries((await w.server.signing()).map((key) => [key.kid, key]));
      assert.deepEqual([own[said.newKeyId].state, own[said.newKeyId].algorithm], ["active", "RS256"]);
      assert.equal(own[before].state, "verify_only");
      // The first second at which it is good for nothing.
      assert.equal(Math.ceil(Date.parse(own[before].remove_at) / 1000), said.existingKeysExpireAt);
      assert.equal((await w.server.api("GET", "/v1/events?type=keys.rotated")).items.length > 0, true, "history tells it");
    },
  ],
  [
    "a new key in two seconds, the old one for an hour",
    async (w) => {
      const one = await w.session();
      const of = async () => part((await make(w, mine(one))).statelessToken, 0).kid;
      const before = await of();
      const said = await rotate(w, 2, 3600);
      near(said.newKeyBecomesDefaultAt, now() + 2);
      assert.ok(said.existingKeysExpireAt >= now() + 3590);
      assert.ok((await kids(w)).includes(said.newKeyId), "it is published before it is used");
      assert.equal(await of(), before);
      const own = (await w.server.signing()).find(({ kid }) => kid === said.newKeyId);
      assert.equal(own.state, "pending");
      assert.equal(seconds(own.activate_at), said.newKeyBecomesDefaultAt);
      await until("the new key signs", async () => (await of()) === said.newKeyId);
      assert.ok(Date.now() / 1000 >= said.newKeyBecomesDefaultAt);
    },
  ],
  [
    "while a key waits there is no other; in an emergency there is, and all others go at once",
    async (w) => {
      const one = await w.session();
      const { statelessToken: old } = await make(w, mine(one));
      const waiting = await rotate(w, 3600, 7200);
      const ask = { secsBeforeNewKeyBecomesDefault: 3600, secsBeforeExistingKeysAreDeactivated: 7200 };
      await w.bad("session.rotateStatelessTokenKey", ask, "RotationFailed", 409, /^rotation_under_way: /);
      assert.equal(await w.server.verdict(old), "valid");
      const said = await rotate(w, 0, 0);
      near(said.newKeyBecomesDefaultAt, now());
      near(said.existingKeysExpireAt, now());
      assert.deepEqual(await kids(w), [said.newKeyId]);
      assert.notEqual(said.newKeyId, waiting.newKeyId);
      const { refused } = await w.client.verify(old, await jwks(w), { issuer: ISSUER, audience: AUDIENCE });
      assert.ok(refused, "no key of that name is left");
      assert.equal(await w.server.verdict(old), "token_malformed");
      assert.equal(await w.server.endOf(one.sessionId), undefined, "sessions go on");
      await verified(w, (await make(w, mine(one))).statelessToken);
      const kinds = (await w.server.signing()).filter(({ algorithm, state }) => algorithm === "EdDSA" && state === "active");
      assert.equal(kinds.length, 1, "keys of other kinds are none of its business");
    },
  ],
  [
    "delays that do not fit",
    async (w) => {
      const before = await kids(w);
      for (const [begin, end] of [
        [-1, 3600],
        [0, -1],
        [0, 1],
        [0, 60],
        [3600, 0],
        [3600, 3599],
        [3600, 3600],
        [10 ** 12, 10 ** 12],
        [Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
      ]) {
        const ask = { secsBeforeNewKeyBecomesDefault: begin, secsBeforeExistingKeysAreDeactivated: end };
        await w.bad("session.rotateStatelessTokenKey", ask, "InvalidParameters", 400, /^\w+: \S/);
      }
      assert.deepEqual(await kids(w), before);
    },
  ],
];
