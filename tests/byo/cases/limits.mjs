// How many sessions, and from where: rules of the policy, told by the errors of CreateSession.
import assert from "node:assert/strict";

export const cases = [
  [
    "no room for one more",
    async (w) => {
      const [userId, other] = [w.user(), w.user()];
      const ask = { userId, tags: ["places:two"] };
      const first = await w.good("session.create", ask);
      await w.good("session.create", ask);
      await w.bad("session.create", ask, "SessionLimitExceeded", 409, { currentCount: 2, maxAllowed: 2 });
      assert.equal((await w.server.live(userId)).length, 2, "nobody had to go, nobody came");
      await w.good("session.create", { ...ask, userId: other });
      await w.good("session.create", { userId });
      await w.good("session.invalidateById", { sessionId: first.sessionId });
      await w.good("session.create", ask);
    },
  ],
  [
    "addresses that the lists refuse, and none where one is needed",
    async (w) => {
      const make = (tag, ipAddress) => ({ userId: w.user(), tags: [tag], ...(ipAddress && { ipAddress }) });
      await w.bad("session.create", make("from:office", "192.0.2.1"), "IpAddressError", 403, /^ip_not_allowed: \S/);
      await w.bad("session.create", make("from:office"), "IpAddressError", 403, /^ip_missing: \S/);
      await w.bad("session.create", make("from:abroad", "198.51.100.77"), "IpAddressError", 403, /^ip_blocked: \S/);
      const refused = make("from:office", "192.0.2.1");
      await w.bad("session.create", refused, "IpAddressError", 403, /^ip_not_allowed: .*from:office/);
      assert.deepEqual(await w.server.live(refused.userId), []);
      const { tags } = await w.server.told("ip_not_allowed", { user: refused.userId });
      assert.deepEqual(tags, refused.tags);
      await w.good("session.create", make("from:office", "203.0.113.200"));
      await w.good("session.create", make("from:abroad", "192.0.2.1"));
    },
  ],
];
