// The three ways to see sessions: which are there, what is said of each, and page by page.
import assert from "node:assert/strict";
import { CHROME, FIREFOX, IPAD, IPHONE, near, now, seconds, unit } from "../support/world.mjs";

const METADATA = { plan: "pro", limits: [1, null] };
const CRAWLER = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";
const ids = (all) => all.map(({ sessionId }) => sessionId);
/** What a list says of a session is what the server has of it. */
function same(info, own) {
  assert.equal(info.sessionId, own.id);
  assert.deepEqual(
    [info.createdAt, info.expiresAt],
    [seconds(own.created_at), seconds(own.absolute_expires_at)],
  );
  near(info.lastActivityAt, seconds(own.last_active_at));
  assert.equal(info.ipAddress ?? null, own.client?.ip ?? null);
  assert.deepEqual((info.sessionTags ?? []).toSorted(), own.tags.toSorted());
  assert.deepEqual(info.metadata ?? null, own.data ?? null);
  if (own.client?.display_name) assert.equal(info.device.displayName, own.client.display_name);
}

export const cases = [
  [
    "one session, by each of them",
    async (w) => {
      const userId = w.user();
      const more = { userAgent: FIREFOX, ipAddress: "203.0.113.7", tags: ["a:b"], metadata: METADATA };
      const { sessionId, own } = await w.session({ userId, ...more });
      const said = [
        await w.good("session.fetchById", { sessionId }),
        ...(await w.good("session.fetchAllForUser", { userId })).sessions,
        ...(await w.good("session.fetchAll", { userId })).items,
      ];
      assert.equal(said.length, 3);
      for (const info of said) {
        same(info, own);
        assert.deepEqual(info, said[0]);
        near(info.lastActivityAt, now(), 5);
      }
    },
  ],
  [
    "one of which nothing is known",
    async (w) => {
      const { sessionId, own } = await w.session();
      const info = await w.good("session.fetchById", { sessionId });
      same(info, own);
      assert.equal(info.device.deviceType, "Unknown");
      assert.ok(info.device.displayName, "people are shown something");
      for (const name of ["browser", "browserVersion", "os", "osVersion"]) assert.ok(!(name in info.device), name);
    },
  ],
  [
    "devices of each kind",
    async (w) => {
      for (const [userAgent, deviceType, browser, os] of [
        [FIREFOX, "Desktop", /^Firefox$/, /Linux/],
        [CHROME, "Desktop", /^Chrome$/, /^Windows/],
        [IPHONE, "Mobile", /Safari/, /^iOS/],
        [IPAD, "Tablet", /Safari/, /^iOS|^iPadOS/],
        [CRAWLER, "Unknown", /./, undefined],
        ["no browser at all", "Unknown", undefined, undefined],
      ]) {
        const { sessionId } = await w.session({ userAgent });
        const { device } = await w.good("session.fetchById", { sessionId });
        assert.equal(device.deviceType, deviceType, userAgent);
        if (browser) assert.match(device.browser, browser);
        if (os) assert.match(device.os, os);
        if (userAgent === FIREFOX) assert.equal(device.browserVersion.split(".")[0], "140");
      }
    },
  ],
  [
    "all of a user, and no others; by tags those with all of them",
    async (w) => {
      const [userId, other] = [w.user(), w.user()];
      const make = async (tags, user = userId) => (await w.session({ userId: user, tags })).sessionId;
      const [none, a, ab, both] = [await make([]), await make(["a:1"]), await make(["a:1", "b:2"]), await make(["b:2", "a:1", "c:3"])];
      await make(["a:1"], other);
      const ended = await make(["a:1"]);
      await w.server.api("DELETE", `/v1/sessions/${ended}`);
      const find = async (more) => [
        ids((await w.good("session.fetchAllForUser", { userId, ...more })).sessions),
        ids((await w.good("session.fetchAll", { userId, ...more })).items),
      ];
      for (const more of [{}, w.orNull({ sessionTags: null }), { sessionTags: [] }])
        for (const found of await find(more)) assert.deepEqual(found, [both, ab, a, none], "newest first");
      for (const found of await find({ sessionTags: ["a:1"] })) assert.deepEqual(found, [both, ab, a]);
      for (const found of await find({ sessionTags: ["a:1", "b:2"] })) assert.deepEqual(found, [both, ab]);
      for (const found of await find({ sessionTags: ["a:2"] })) assert.deepEqual(found, []);
    },
  ],
  [
    "a user whom nobody knows has no sessions",
    async (w) => {
      const userId = w.user("nobody");
      assert.deepEqual(await w.good("session.fetchAllForUser", { userId }), { sessions: [] });
      const { items, totalCount, hasMoreResults, page, pageSize } = await w.good("session.fetchAll", { userId });
      assert.deepEqual([items, totalCount, hasMoreResults, page, pageSize], [[], 0, false, 0, 100]);
    },
  ],
  [
    "of more than a thousand, page by page; and they are too many to change at once",
    async (w) => {
      const wanted = 1001;
      const made = [];
      let next = 0;
      const some = async () => {
        for (let place; (place = next++) < wanted; ) {
          const body = { user_id: `crowd-${place % 40}`, tags: ["crowd:all"], data: { place } };
          made.push((await w.server.api("POST", "/v1/sessions", body)).session.id);
        }
      };
      await Promise.all(Array.from({ length: 24 }, some));
      const sessionTags = ["crowd:all"];
      const seen = [];
      for (let page = 0; page <= 11; page++) {
        const said = await w.good("session.fetchAll", { sessionTags, ...(page > 0 && { page }) });
        assert.deepEqual([said.page, said.pageSize, said.totalCount], [page, 100, wanted]);
        assert.equal(said.hasMoreResults, page < 10, `page ${page}`);
        assert.equal(said.items.length, page < 10 ? 100 : page === 10 ? 1 : 0);
        seen.push(...ids(said.items));
      }
      assert.deepEqual(seen.toSorted(), made.toSorted(), "each once");
      const first = await w.good("session.fetchAll", w.orNull({ userId: null, sessionTags, page: null }));
      assert.deepEqual(ids(first.items), seen.slice(0, 100));
      const everybody = await w.good("session.fetchAll", {});
      assert.ok(everybody.totalCount >= wanted && everybody.items.length === 100);
      const own = await Promise.all(everybody.items.slice(0, 5).map(({ sessionId }) => w.server.session(sessionId)));
      everybody.items.slice(0, 5).forEach((info, place) => same(info, own[place]));

      const filter = { sessionTags };
      await w.bad("session.updateMany", { filter, newMetadata: 1 }, "UpdatingTooManySessionsAtOnce", 409, unit);
      assert.notEqual((await w.server.session(made[0])).data, 1, "nothing changed");
      await w.good("session.invalidateById", { sessionId: made[0] });
      const { updatedCount } = await w.good("session.updateMany", { filter, patchMetadata: { seen: true } });
      assert.equal(updatedCount, 1000);
      assert.equal((await w.server.session(made[1])).data.seen, true);
      assert.deepEqual(Object.keys((await w.server.session(made[0])).data ?? {}), ["place"], "what has ended does not change");
      await w.server.api("POST", "/v1/sessions/revoke", { tags: sessionTags, user_id: "crowd-1" });
    },
  ],
  [
    "what is not there",
    async (w) => {
      const { sessionId } = await w.session();
      await w.good("session.invalidateById", { sessionId });
      const unknown = sessionId.slice(0, -4) + "AAAA";
      for (const id of [sessionId, unknown, "x", "", "ses_"])
        await w.bad("session.fetchById", { sessionId: id }, "SessionNotFound", 404, unit);
    },
  ],
  [
    "what cannot be asked",
    async (w) => {
      await w.bad("session.fetchAllForUser", { userId: "" }, "UnexpectedError", 400, /^invalid_request: \/data\/userId: /);
      await w.bad("session.fetchAllForUser", { userId: "u", sessionTags: ["none"] }, "UnexpectedError", 400, /^tag_invalid: /);
      await w.bad("session.fetchAll", { sessionTags: ["none"] }, "UnexpectedError", 400, /^tag_invalid: /);
      await w.bad("session.fetchAll", { page: -1 }, "UnexpectedError", 400, /^invalid_request: \/data\/page: /);
      await w.bad("session.fetchAll", { page: 1.5 }, "UnexpectedError", 400, /^invalid_request: \/data\/page: /);
    },
  ],
];
