// UpdateSession and UpdateSessions: tags and metadata of sessions that live.
import assert from "node:assert/strict";
import { unit } from "../support/world.mjs";

const own = (w, sessionId) => w.server.session(sessionId);

export const cases = [
  [
    "tags come and go",
    async (w) => {
      const { sessionId } = await w.session({ tags: ["a:1", "b:2"] });
      assert.deepEqual(await w.good("session.update", { sessionId, tagsToAdd: ["mfa:yes", "a:1"], tagsToRemove: ["b:2", "none:x"] }), {});
      assert.deepEqual((await own(w, sessionId)).tags.toSorted(), ["a:1", "mfa:yes"]);
      const [event] = (await w.server.events(sessionId)).filter(({ type }) => type === "session.updated");
      assert.ok(event, "history tells it");
    },
  ],
  [
    "metadata is replaced, or changed by a merge patch",
    async (w) => {
      const { sessionId } = await w.session({ metadata: { plan: "free", seats: { used: 1, most: 2 }, old: true } });
      const data = async () => (await own(w, sessionId)).data;
      const patchMetadata = { plan: "pro", seats: { used: 2 }, old: null, list: [1, null] };
      await w.good("session.update", { sessionId, patchMetadata });
      assert.deepEqual(await data(), { plan: "pro", seats: { used: 2, most: 2 }, list: [1, null] });
      await w.good("session.update", { sessionId, newMetadata: { only: null } });
      assert.deepEqual(await data(), { only: null }, "null inside of metadata is a value");
      await w.good("session.update", { sessionId, patchMetadata: {} });
      assert.deepEqual(await data(), { only: null });
      for (const newMetadata of [[], "text", 0, false, {}]) {
        await w.good("session.update", { sessionId, newMetadata });
        assert.deepEqual(await data(), newMetadata);
      }
    },
  ],
  [
    "null is not said, so nothing is wiped",
    async (w) => {
      const { sessionId } = await w.session({ tags: ["a:1"], metadata: { plan: "pro" } });
      const nulls = { tagsToRemove: null, tagsToAdd: null, newMetadata: null, patchMetadata: null };
      for (const data of [{}, nulls, { tagsToAdd: [] }]) {
        assert.deepEqual(await w.good("session.update", { sessionId, ...data }), {});
        const { tags, data: kept } = await own(w, sessionId);
        assert.deepEqual([tags, kept], [["a:1"], { plan: "pro" }]);
      }
    },
  ],
  [
    "both kinds of metadata at once change nothing",
    async (w) => {
      const { sessionId } = await w.session({ metadata: { plan: "pro" }, tags: ["a:1"] });
      const both = { newMetadata: { a: 1 }, patchMetadata: { b: 2 }, tagsToAdd: ["c:1"] };
      await w.bad("session.update", { sessionId, ...both }, "ConflictingMetadataOptions", 400, unit);
      await w.bad("session.updateMany", { filter: { sessionTags: ["a:1"] }, ...both }, "ConflictingMetadataOptions", 400, unit);
      const { tags, data } = await own(w, sessionId);
      assert.deepEqual([tags, data], [["a:1"], { plan: "pro" }]);
    },
  ],
  [
    "what is no tag is repeated",
    async (w) => {
      const { sessionId, own: before } = await w.session({ tags: ["a:1"] });
      const filter = { userId: before.user_id };
      for (const change of [{ tagsToAdd: ["b:2", "none"] }, { tagsToRemove: ["a:1", "none"] }]) {
        await w.bad("session.update", { sessionId, ...change }, "InvalidTagFormat", 400, { InvalidTagFormat: "none" });
        await w.bad("session.updateMany", { filter, ...change }, "InvalidTagFormat", 400, { InvalidTagFormat: "none" });
      }
      assert.deepEqual((await own(w, sessionId)).tags, ["a:1"]);
    },
  ],
  [
    "tags that stay neither come nor go, and all of them are named",
    async (w) => {
      const { sessionId, own: before } = await w.session({ tags: ["org:acme", "team:red", "a:1"] });
      const filter = { userId: before.user_id };
      for (const [change, names] of [
        [{ tagsToAdd: ["org:evil"] }, ["org"]],
        [{ tagsToRemove: ["org:acme", "a:1"] }, ["org"]],
        [{ tagsToAdd: ["team:blue", "b:2"], tagsToRemove: ["org:acme"] }, ["org", "team"]],
      ]) {
        for (const [path, whom] of [
          ["session.update", { sessionId }],
          ["session.updateMany", { filter }],
        ]) {
          const details = await w.bad(path, { ...whom, ...change }, "CannotModifyOnCreateOnlyTags", 409);
          assert.deepEqual(Object.keys(details), ["tag_names"]);
          assert.deepEqual(details.tag_names.toSorted(), names);
        }
        assert.deepEqual((await own(w, sessionId)).tags.toSorted(), ["a:1", "org:acme", "team:red"]);
      }
    },
  ],
  [
    "a tag that comes where there is no room for it",
    async (w) => {
      const userId = w.user();
      for (let place = 0; place < 2; place++) await w.session({ userId, tags: ["places:two"] });
      const { sessionId } = await w.session({ userId });
      const tagsToAdd = ["places:two"];
      await w.bad("session.update", { sessionId, tagsToAdd }, "UnexpectedError", 409, /^session_limit_reached: \S/);
      await w.bad("session.updateMany", { filter: { userId }, tagsToAdd }, "UnexpectedError", 409, /^session_limit_reached: \S/);
      assert.deepEqual((await own(w, sessionId)).tags, []);
    },
  ],
  [
    "of a session that is not there, or has ended",
    async (w) => {
      const { sessionId } = await w.session();
      await w.good("session.invalidateById", { sessionId });
      for (const id of [sessionId, sessionId.slice(0, -4) + "AAAA", "x", ""])
        for (const more of [{ tagsToAdd: ["a:1"] }, {}]) await w.bad("session.update", { sessionId: id, ...more }, "SessionNotFound", 404, unit);
    },
  ],
  [
    "many at once: of a user, with tags, or both",
    async (w) => {
      const [userId, other] = [w.user(), w.user()];
      const mark = `mark:${userId}`;
      const make = async (user, tags) => (await w.session({ userId: user, tags, metadata: { n: 1 } })).sessionId;
      const [a, b, c, d] = [await make(userId, [mark]), await make(userId, []), await make(other, [mark]), await make(other, [])];
      const ended = await make(userId, [mark]);
      await w.server.api("DELETE", `/v1/sessions/${ended}`);
      const change = async (filter, more, count) => assert.deepEqual(await w.good("session.updateMany", { filter, ...more }), { updatedCount: count });
      const data = async () => Promise.all([a, b, c, d].map(async (id) => (await own(w, id)).data.n));
      await change({ userId }, { newMetadata: { n: 2 } }, 2);
      assert.deepEqual(await data(), [2, 2, 1, 1]);
      await change({ sessionTags: [mark] }, { patchMetadata: { n: 3 } }, 2);
      assert.deepEqual(await data(), [3, 2, 3, 1]);
      await change({ userId: other, sessionTags: [mark] }, { tagsToAdd: ["x:1"], tagsToRemove: [mark], newMetadata: { n: 4 } }, 1);
      assert.deepEqual(await data(), [3, 2, 4, 1]);
      assert.deepEqual((await own(w, c)).tags, ["x:1"]);
      assert.deepEqual((await own(w, ended)).data, { n: 1 });
      const nulls = { tagsToAdd: null, tagsToRemove: null, newMetadata: null, patchMetadata: null };
      await w.good("session.updateMany", { filter: { userId, ...w.orNull({ sessionTags: null }) }, ...nulls });
      await w.good("session.updateMany", { filter: { sessionTags: [mark], ...w.orNull({ userId: null }) }, ...nulls });
      assert.deepEqual(await data(), [3, 2, 4, 1]);
      await change({ userId: w.user("nobody") }, { newMetadata: 1 }, 0);
    },
  ],
  [
    "everybody at once is nobody",
    async (w) => {
      const { sessionId } = await w.session({ metadata: { n: 1 } });
      for (const filter of [{}, w.orNull({ userId: null, sessionTags: null }), { sessionTags: [] }])
        await w.bad("session.updateMany", { filter, newMetadata: 2 }, "UnexpectedError", 400, /^invalid_request: \/data\/filter: /);
      assert.deepEqual((await own(w, sessionId)).data, { n: 1 });
    },
  ],
  [
    "what cannot be stored",
    async (w) => {
      const { sessionId } = await w.session({ metadata: { n: 1 } });
      await w.bad("session.update", { sessionId, newMetadata: "x".repeat(40_000) }, "UnexpectedError", undefined, /^(data_too_large|invalid_request): /);
      const tagsToAdd = Array.from({ length: 60 }, (_, place) => `t:${place}`);
      await w.bad("session.update", { sessionId, tagsToAdd }, "UnexpectedError", undefined, /^\w+: /);
      const { tags, data } = await own(w, sessionId);
      assert.deepEqual([tags, data], [[], { n: 1 }]);
    },
  ],
];
