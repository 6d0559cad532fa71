// The integration key is an access key, and its scopes are the commands that it may give. What is wrong with it is told in
// the one type that every client reads; their own types for it make two of them throw.
import assert from "node:assert/strict";
import { near, now, unit } from "../support/world.mjs";

const SCOPES = ["sessions:read", "sessions:write", "tokens:mint", "tokens:verify", "tokens:open", "events:read", "policy:write", "users:write", "keys:write"];
const [READ, WRITE] = SCOPES;

/** What each method needs, and how it is asked with nothing that could go wrong but the key. */
const METHODS = {
  "ping": [undefined, () => ({})],
  "session.create": [WRITE, ({ userId }) => ({ userId })],
  "session.validate": [READ, ({ sessionToken }) => ({ sessionToken })],
  "session.validateAndRefresh": [READ, ({ sessionToken }) => ({ sessionToken })],
  "session.fetchAllForUser": [READ, ({ userId }) => ({ userId })],
  "session.fetchAll": [READ, () => ({})],
  "session.fetchById": [READ, ({ sessionId }) => ({ sessionId })],
  "session.update": [WRITE, ({ sessionId }) => ({ sessionId, tagsToAdd: ["a:1"] })],
  "session.updateMany": [WRITE, ({ userId }) => ({ filter: { userId }, tagsToAdd: ["a:2"] })],
  "session.invalidateByToken": [WRITE, ({ sessionToken }) => ({ sessionToken })],
  "session.invalidateById": [WRITE, ({ sessionId }) => ({ sessionId })],
  "session.invalidateAllForUser": [WRITE, ({ userId }) => ({ userId })],
  "session.invalidateAllForUserExceptOne": [WRITE, ({ userId, sessionToken }) => ({ userId, sessionTokenToKeep: sessionToken, sessionTags: ["none:x"] })],
  "session.createStatelessToken": ["tokens:mint", ({ userId }) => ({ userId })],
  "session.getJwks": [undefined, () => ({})],
  "session.rotateStatelessTokenKey": ["keys:write", () => ({ secsBeforeNewKeyBecomesDefault: 0, secsBeforeExistingKeysAreDeactivated: 3600 })],
  "session.device.createChallenge": [READ, () => ({})],
  "session.device.register": [WRITE, ({ sessionToken }) => ({ sessionToken, signedDeviceChallenge: "a.b.c", rememberDevice: true })],
};

async function someone(w) {
  const userId = w.user();
  return { userId, ...(await w.session({ userId })) };
}

const state = async (w, { sessionId, userId }) => {
  const { tags, state, device } = await w.server.session(sessionId);
  const keys = (await w.server.signing()).map(({ kid }) => kid);
  return JSON.stringify([tags, state, device, keys, await w.server.live(userId)]);
};

export const cases = [
  [
    "every method is in the table",
    async (w) => assert.deepEqual(Object.keys(METHODS).toSorted(), (await w.client.methods()).toSorted()),
  ],
  [
    "a key that is not known, for every method: nothing is done",
    async (w) => {
      const { id, secret } = await w.server.newKey(SCOPES);
      await w.good("ping", {}, { key: secret });
      await w.server.api("DELETE", `/v1/keys/${id}`);
      const one = await someone(w);
      const before = await state(w, one);
      for (const [path, [, ask]] of Object.entries(METHODS))
        await w.bad(path, ask(one), "UnexpectedError", 401, /^access_key_invalid: \S.*\(IntegrationKeyNotFound\)$/, { key: secret });
      assert.equal(await state(w, one), before);
    },
  ],
  [
    "what is no key in its form",
    async (w) => {
      const { sessionToken } = await w.session();
      for (const key of ["pk_live_0123456789", "x", "hs", sessionToken, w.key.replace("hsk_", "hsx_")])
        for (const [path, data] of [
          ["ping", {}],
          ["session.validate", { sessionToken }],
        ])
          await w.bad(path, data, "UnexpectedError", 401, /^access_key_invalid: \S.*\(InvalidPrefix\)$/, { key });
      const other = w.key.slice(0, -1) + (w.key.endsWith("a") ? "b" : "a");
      await w.bad("ping", {}, "UnexpectedError", 401, /^access_key_invalid: \S.*\(\w+\)$/, { key: other });
      await w.bad("ping", {}, "UnexpectedError", 401, /^access_key_(missing|invalid): \S.*\((NoIntegrationKeyFoundInHeader|InvalidPrefix)\)$/, { key: "" });
    },
  ],
  [
    "a publishable key, one that is suspended, and one that is resumed",
    async (w) => {
      const { secret: publishable } = await w.server.api("POST", "/v1/keys", { name: "app", kind: "publishable" });
      await w.bad("ping", {}, "UnexpectedError", undefined, /^(publishable_key_forbidden|access_key_invalid): \S.*\(InvalidPrefix\)$/, { key: publishable });
      const { id, secret } = await w.server.newKey(SCOPES);
      await w.server.api("PATCH", `/v1/keys/${id}`, { state: "suspended" });
      await w.bad("ping", {}, "UnexpectedError", 401, /^access_key_suspended: \S/, { key: secret });
      await w.server.api("PATCH", `/v1/keys/${id}`, { state: "active" });
      near((await w.good("ping", {}, { key: secret })).timestamp, now());
    },
  ],
  [
    "a key with every scope but the one: the command is not allowed, and nothing is done",
    async (w) => {
      const without = new Map();
      for (const scope of SCOPES) without.set(scope, (await w.server.newKey(SCOPES.filter((one) => one !== scope))).secret);
      const one = await someone(w);
      const before = await state(w, one);
      for (const [path, [scope, ask]] of Object.entries(METHODS)) {
        if (!scope) continue;
        const details = await w.bad(path, ask(one), "UnexpectedError", 403, /^insufficient_scope: \S.*\(CommandNotAllowed\)$/, { key: without.get(scope) });
        assert.ok(details.includes(scope), `${details} names ${scope}`);
      }
      assert.equal(await state(w, one), before);
    },
  ],
  [
    "a key with that scope alone: the command is done",
    async (w) => {
      const only = new Map();
      for (const scope of SCOPES) only.set(scope, (await w.server.newKey([scope])).secret);
      for (const [path, [scope, ask]] of Object.entries(METHODS)) {
        const one = await someone(w);
        const said = await w.call(path, ask(one), { key: only.get(scope ?? "events:read") });
        const expected = path === "session.device.register" ? "InvalidDeviceRegistration" : undefined;
        assert.equal(said.type, expected, `${path}: ${said.wire.answer.body}`);
      }
    },
  ],
  [
    "a key of another environment sees and touches nothing of this one",
    async (w) => {
      const key = await w.server.elsewhere("shop", "test");
      const one = await someone(w);
      const before = await state(w, one);
      const { userId, sessionId, sessionToken } = one;
      const there = { key };
      await w.bad("session.validate", { sessionToken }, "InvalidSessionToken", 401, /^token_malformed: /, there);
      for (const path of ["session.fetchById", "session.update", "session.invalidateById"])
        await w.bad(path, { sessionId }, "SessionNotFound", 404, unit, there);
      assert.deepEqual((await w.good("session.fetchAllForUser", { userId }, there)).sessions, []);
      assert.equal((await w.good("session.fetchAll", {}, there)).totalCount, 0);
      assert.deepEqual(await w.good("session.invalidateByToken", { sessionToken }, there), {});
      assert.deepEqual(await w.good("session.invalidateAllForUser", { userId }, there), { sessionsInvalidated: 0 });
      assert.deepEqual(await w.good("session.updateMany", { filter: { userId }, newMetadata: 1 }, there), { updatedCount: 0 });
      await w.bad("session.createStatelessToken", { userId, sessionId }, "TokenCreationFailed", undefined, /^not_found: /, there);
      const kids = async (how) => (await w.good("session.getJwks", {}, how)).keys.map(({ kid }) => kid);
      const [here, other] = [await kids(), await kids(there)];
      assert.ok(here.every((kid) => !other.includes(kid)), "each has its own keys");
      assert.equal(await state(w, one), before);
      const own = await w.good("session.create", { userId }, there);
      await w.bad("session.fetchById", { sessionId: own.sessionId }, "SessionNotFound", 404, unit);
    },
  ],
  [
    "a key whose budget is spent",
    async (w) => {
      const { secret } = await w.server.api("POST", "/v1/keys", { name: "few", scopes: SCOPES, rate_limit: "3/1h" });
      for (let call = 0; call < 3; call++) await w.good("ping", {}, { key: secret });
      const { type, status, details, wire } = await w.call("ping", {}, { key: secret });
      assert.deepEqual([type, status], ["UnexpectedError", 429]);
      assert.match(details, /^rate_limit_exceeded: \S/);
      assert.ok(Number(wire.answer.headers["retry-after"]) > 0);
    },
  ],
];
