// The four ways to end sessions.
import assert from "node:assert/strict";
import { unit } from "../support/world.mjs";

const ended = (w, { sessionId }) => w.server.endOf(sessionId);

export const cases = [
  [
    "by its token, as often as one likes; what is no token is fine",
    async (w) => {
      const [one, other] = [await w.session(), await w.session()];
      for (let twice = 0; twice < 2; twice++) assert.deepEqual(await w.good("session.invalidateByToken", { sessionToken: one.sessionToken }), {});
      assert.equal(await ended(w, one), "session_revoked");
      assert.equal(await ended(w, other), undefined);
      assert.equal(await w.server.verdict(one.sessionToken), "session_revoked");
      for (const data of [{}, w.orNull({ sessionToken: null }), { sessionToken: "" }, { sessionToken: "none" }])
        assert.deepEqual(await w.good("session.invalidateByToken", data), {});
      assert.equal(await ended(w, other), undefined);
      const events = await w.server.events(one.sessionId);
      assert.equal(events.filter(({ type }) => type === "session.ended").length, 1, "it ended once");
    },
  ],
  [
    "by its id, as often as one likes",
    async (w) => {
      const one = await w.session();
      for (let twice = 0; twice < 2; twice++) assert.deepEqual(await w.good("session.invalidateById", { sessionId: one.sessionId }), {});
      assert.equal(await ended(w, one), "session_revoked");
      await w.good("session.invalidateById", { sessionId: one.sessionId, ...w.orNull({ userId: null }) });
    },
  ],
  [
    "by its id and whose it is: another's is not found and lives",
    async (w) => {
      const [one, other] = [await w.session(), await w.session()];
      const guard = (sessionId, { own }) => ({ sessionId, userId: own.user_id });
      await w.bad("session.invalidateById", guard(one.sessionId, other), "SessionNotFound", 404, unit);
      assert.equal(await ended(w, one), undefined);
      await w.good("session.invalidateById", guard(one.sessionId, one));
      assert.equal(await ended(w, one), "session_revoked");
      for (const sessionId of [one.sessionId.slice(0, -4) + "AAAA", "x", ""])
        await w.bad("session.invalidateById", { sessionId }, "SessionNotFound", 404, unit);
      await w.bad("session.invalidateById", guard(one.sessionId, other), "SessionNotFound", 404, unit);
    },
  ],
  [
    "all of a user, or those with tags",
    async (w) => {
      const userId = w.user();
      const make = (tags) => w.session({ userId, tags });
      const [a, ab, b, none] = [await make(["a:1"]), await make(["a:1", "b:2"]), await make(["b:2"]), await make([])];
      const other = await w.session({ tags: ["a:1"] });
      const end = async (more, count) =>
        assert.deepEqual(await w.good("session.invalidateAllForUser", { userId, ...more }), { sessionsInvalidated: count });
      await end({ sessionTags: ["a:1", "b:2"] }, 1);
      assert.deepEqual([await ended(w, ab), await ended(w, a)], ["session_revoked", undefined]);
      await end({ sessionTags: ["a:1"] }, 1);
      assert.deepEqual(new Set(await w.server.live(userId)), new Set([b.sessionId, none.sessionId]));
      await end(w.orNull({ sessionTags: null }), 2);
      await end({}, 0);
      assert.deepEqual(await w.server.live(userId), []);
      assert.equal(await ended(w, other), undefined, "another's session lives");
      assert.deepEqual(await w.good("session.invalidateAllForUser", { userId: w.user("nobody") }), { sessionsInvalidated: 0 });
    },
  ],
  [
    "all of a user but one",
    async (w) => {
      const userId = w.user();
      const make = (tags = []) => w.session({ userId, tags });
      const [kept, one, tagged] = [await make(), await make(), await make(["a:1"])];
      const other = await w.session();
      const ask = (more) => ({ userId, sessionTokenToKeep: kept.sessionToken, ...more });
      const end = async (more, count) =>
        assert.deepEqual(await w.good("session.invalidateAllForUserExceptOne", ask(more)), { sessionsInvalidated: count });
      // The one that is kept has not got the tag: the others with it go.
      await end({ sessionTags: ["a:1"] }, 1);
      assert.deepEqual([await ended(w, tagged), await ended(w, one)], ["session_revoked", undefined]);
      await end(w.orNull({ sessionTags: null }), 1);
      await end({}, 0);
      assert.deepEqual(await w.server.live(userId), [kept.sessionId]);
      await w.good("session.validate", { sessionToken: kept.sessionToken });
      assert.equal(await ended(w, other), undefined);
    },
  ],
  [
    "all but one that is none of the user's: nobody ends",
    async (w) => {
      const userId = w.user();
      const [one, gone] = [await w.session({ userId }), await w.session({ userId })];
      const other = await w.session();
      await w.good("session.invalidateById", { sessionId: gone.sessionId });
      for (const sessionTokenToKeep of [gone.sessionToken, other.sessionToken, "none", ""])
        await w.bad("session.invalidateAllForUserExceptOne", { userId, sessionTokenToKeep }, "UnexpectedError", undefined, /^except_invalid: /);
      assert.deepEqual([await ended(w, one), await ended(w, other)], [undefined, undefined]);
    },
  ],
  [
    "what cannot be asked ends nobody",
    async (w) => {
      const { own, sessionToken, sessionId } = await w.session();
      const userId = own.user_id;
      await w.bad("session.invalidateAllForUser", { userId: "" }, "UnexpectedError", 400, /^invalid_request: \/data\/userId: /);
      await w.bad("session.invalidateAllForUser", { userId, sessionTags: ["none"] }, "UnexpectedError", 400, /^tag_invalid: /);
      const keep = { userId, sessionTokenToKeep: sessionToken, sessionTags: ["none"] };
      await w.bad("session.invalidateAllForUserExceptOne", keep, "UnexpectedError", 400, /^tag_invalid: /);
      await w.bad("session.invalidateById", { sessionId, userId: "" }, "UnexpectedError", 400, /^invalid_request: \/data\/userId: /);
      assert.equal(await w.server.endOf(sessionId), undefined);
    },
  ],
];
