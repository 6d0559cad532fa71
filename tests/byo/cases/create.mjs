// Ping and CreateSession: what is said of the new session, and what the server has of it.
import assert from "node:assert/strict";
import { CHROME, FIREFOX, near, now, seconds, unit } from "../support/world.mjs";

const METADATA = { plan: "pro", seats: [1, 2.5, null], name: "Jürgen \u{1f600}", nested: { none: null, big: 9007199254740991 } };

export const cases = [
  [
    "ping tells the time",
    async (w) => {
      const { timestamp } = await w.good("ping", {});
      near(timestamp, now());
    },
  ],
  [
    "with nothing but a user",
    async (w) => {
      const userId = w.user();
      const made = await w.good("session.create", { userId });
      assert.deepEqual(Object.keys(made).toSorted(), ["expiresAt", "sessionId", "sessionToken"]);
      const own = await w.server.session(made.sessionId);
      assert.deepEqual([own.user_id, own.state, own.tags, own.data ?? null], [userId, "live", [], null]);
      assert.deepEqual([own.client?.ip ?? null, own.client?.user_agent ?? null], [null, null], "nothing is guessed");
      // The absolute end, not the idle one.
      assert.equal(made.expiresAt, seconds(own.absolute_expires_at));
      assert.equal(await w.server.verdict(made.sessionToken), "valid");
      const [event] = (await w.server.events(made.sessionId)).filter(({ type }) => type === "session.created");
      assert.equal(event.user_id, userId);
    },
  ],
  [
    "with everything but a device, and all of it null",
    async (w) => {
      const [full, none] = [w.user(), w.user()];
      const more = { tags: ["role:admin", "org:acme"], userAgent: FIREFOX, ipAddress: "203.0.113.7", metadata: METADATA };
      const { sessionId } = await w.good("session.create", { userId: full, ...more });
      const own = await w.server.session(sessionId);
      assert.deepEqual([own.user_id, own.tags.toSorted(), own.data], [full, ["org:acme", "role:admin"], METADATA]);
      assert.deepEqual([own.client.ip, own.client.user_agent, own.client.browser], ["203.0.113.7", FIREFOX, "Firefox"]);

      const nulls = { tags: null, userAgent: null, ipAddress: null, metadata: null, deviceRegistration: null };
      const bare = await w.good("session.create", { userId: none, ...nulls });
      const empty = await w.server.session(bare.sessionId);
      assert.deepEqual([empty.tags, empty.data ?? null, empty.client?.ip ?? null], [[], null, null]);
      assert.ok(!("newDeviceDetected" in bare), "there was no device");
    },
  ],
  [
    "an address of either kind, in any spelling",
    async (w) => {
      for (const [ipAddress, ip] of [
        ["2001:DB8::7", "2001:db8::7"],
        ["198.51.100.1", "198.51.100.1"],
      ]) {
        const { own } = await w.session({ ipAddress, userAgent: CHROME });
        assert.equal(own.client.ip, ip);
      }
    },
  ],
  [
    "metadata of every kind of JSON comes back as it went",
    async (w) => {
      for (const metadata of ["text", 7, 1.5, true, false, [], {}, [null], { a: null }, { "": { "\u0000é": [] } }]) {
        const { sessionToken, sessionId, own } = await w.session({ metadata });
        assert.deepEqual(own.data, metadata);
        assert.deepEqual((await w.good("session.validate", { sessionToken })).metadata, metadata);
        assert.deepEqual((await w.good("session.fetchById", { sessionId })).metadata, metadata);
      }
    },
  ],
  [
    "a text that is no tag is repeated, and makes no session",
    async (w) => {
      for (const tag of ["no-colon", ":", "a:", ":b", "", "a b:c", `a:${"x".repeat(300)}`]) {
        const userId = w.user();
        await w.bad("session.create", { userId, tags: ["good:one", tag] }, "TagParseError", 400, { InvalidTagFormat: tag });
        assert.deepEqual(await w.server.live(userId), []);
      }
    },
  ],
  [
    "an address that cannot be read",
    async (w) => {
      for (const ipAddress of ["localhost", "1.2.3", "300.0.0.1", "", "203.0.113.7:443", "203.0.113.0/24"]) {
        const userId = w.user();
        await w.bad("session.create", { userId, ipAddress }, "IpAddressError", 400, /^invalid_request: \/data\/ipAddress: /);
        assert.deepEqual(await w.server.live(userId), []);
      }
    },
  ],
  [
    "what is bad input and has no type of its own",
    async (w) => {
      await w.bad("session.create", { userId: "" }, "UnexpectedError", 400, /^invalid_request: \/data\/userId: /);
      await w.bad("session.create", { userId: "u".repeat(5000) }, "UnexpectedError", 400, /^invalid_request: \/data\/userId: /);
      const tags = Array.from({ length: 40 }, (_, place) => `t:${place}`);
      await w.bad("session.create", { userId: w.user(), tags }, "UnexpectedError", 400, /^invalid_request: \/data\/tags: /);
      const big = { metadata: "x".repeat(20_000), userId: w.user() };
      const { type, status, ok } = await w.call("session.create", big);
      assert.ok(ok || (type === "UnexpectedError" && [400, 413].includes(status)), `${type} ${status}`);
      const { status: over } = await w.call("session.create", { metadata: "x".repeat(70_000), userId: w.user() });
      assert.equal(over, 413);
    },
  ],
  [
    "an error without details has no such member",
    async (w) => {
      const proof = { signedDeviceChallenge: "not.a.proof" };
      await w.bad("session.create", { userId: w.user(), deviceRegistration: proof }, "InvalidDeviceRegistration", 403, unit);
    },
  ],
];
