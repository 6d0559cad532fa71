// An outage is no logout: what cannot be written is an UnexpectedError with 503, in every command, and whoever was logged in
// still is afterwards. These cases come last: they take the server away.
import assert from "node:assert/strict";
import { Device } from "../support/proof.mjs";
import { FIREFOX, pause, until } from "../support/world.mjs";
import { bound, challenge, proof, shown } from "./devices.mjs";

const HERE = { userAgent: FIREFOX, ipAddress: "203.0.113.7" };
const LOGIN = { method: "POST", url: "https://app.example/login" };

export const cases = [
  [
    "nothing can be written",
    async (w) => {
      const userId = w.user();
      const one = await w.session({ userId, metadata: { n: 1 } });
      const keep = await w.session({ userId });
      const turn = await w.session({ tags: ["turn:fast"] });
      const holder = await bound(w);
      const bare = await w.session(HERE);
      const device = await Device.make();
      const introduction = await device.sign({ challenge: await challenge(w), session: bare.sessionId, key: true, ...LOGIN });
      const good = shown(await proof(w, holder));
      const { keys } = await w.good("session.getJwks", {});
      await until("the token may be replaced", () => Date.now() > Date.parse(turn.own.created_at) + 1500 || pause(50));
      w.server.full(true);
      try {
        for (const [path, data] of [
          ["session.create", { userId }],
          ["session.update", { sessionId: one.sessionId, newMetadata: { n: 2 } }],
          ["session.updateMany", { filter: { userId }, newMetadata: { n: 3 } }],
          ["session.invalidateById", { sessionId: one.sessionId }],
          ["session.invalidateByToken", { sessionToken: one.sessionToken }],
          ["session.invalidateAllForUser", { userId }],
          ["session.invalidateAllForUserExceptOne", { userId, sessionTokenToKeep: keep.sessionToken }],
          ["session.validateAndRefresh", { sessionToken: turn.sessionToken }],
          ["session.validate", { sessionToken: holder.sessionToken, ...HERE, deviceVerification: good }],
          ["session.device.register", { sessionToken: bare.sessionToken, signedDeviceChallenge: introduction, rememberDevice: true, ...HERE }],
          ["session.rotateStatelessTokenKey", { secsBeforeNewKeyBecomesDefault: 0, secsBeforeExistingKeysAreDeactivated: 0 }],
        ])
          await w.bad(path, data, "UnexpectedError", 503, /^store_unavailable: \S.*not mean that anybody is logged out/);
        assert.ok(Number(w.relay.exchanges.at(-1).answer.headers["retry-after"]) > 0, "it says when to try again");
        // What is only read goes on.
        for (const { sessionToken } of [one, keep]) await w.good("session.validate", { sessionToken });
        assert.equal((await w.good("session.fetchAllForUser", { userId })).sessions.length, 2);
        assert.deepEqual((await w.good("session.fetchById", { sessionId: one.sessionId })).metadata, { n: 1 });
        assert.deepEqual((await w.good("session.getJwks", {})).keys, keys);
        await w.good("session.device.createChallenge", {});
      } finally {
        w.server.full(false);
      }
      await until("it can be written again", async () => (await w.call("session.create", { userId })).ok);
      for (const { sessionToken } of [one, keep, turn, bare]) await w.good("session.validate", { sessionToken, ...HERE });
      assert.equal((await w.server.session(bare.sessionId)).device ?? null, null);
      await w.good("session.validate", { sessionToken: holder.sessionToken, ...HERE, deviceVerification: shown(await proof(w, holder)) });
      assert.deepEqual((await w.good("session.getJwks", {})).keys, keys, "no key was taken away");
    },
  ],
  [
    "kill -9, and a start on what is there",
    async (w) => {
      const [one, gone] = [await w.session({ tags: ["a:1"], metadata: { n: 1 } }), await w.session()];
      await w.good("session.invalidateById", { sessionId: gone.sessionId });
      const { statelessToken } = await w.good("session.createStatelessToken", { userId: one.own.user_id });
      const { keys } = await w.good("session.getJwks", {});
      await w.server.kill();
      const warn = console.warn; // which is where npm's client says it
      console.warn = () => {};
      try {
        const said = await w.client.call("session.validate", { sessionToken: one.sessionToken }, w.relay.url, w.key).catch((error) => ({ raised: error.code }));
        if (w.client.name === "strict") assert.match(said.raised, /^ECONN/);
        else assert.equal(said.error.type, "UnexpectedError", "the client's own word for no answer");
      } finally {
        console.warn = warn;
      }
      await w.server.again();
      const said = await w.good("session.validate", { sessionToken: one.sessionToken });
      assert.deepEqual([said.tags, said.metadata], [["a:1"], { n: 1 }]);
      await w.bad("session.validate", { sessionToken: gone.sessionToken }, "InvalidSessionToken", 401, /^session_revoked: /);
      assert.deepEqual((await w.good("session.getJwks", {})).keys, keys);
      assert.equal(await w.server.verdict(statelessToken), "valid");
    },
  ],
];
