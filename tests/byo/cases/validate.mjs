// ValidateSession and ValidateAndRefreshSession: who passes, who does not and why, and when a token is replaced.
import assert from "node:assert/strict";
import { CHROME, FIREFOX, near, now, pause, seconds, until } from "../support/world.mjs";

const BOTH = ["session.validate", "session.validateAndRefresh"];
/** A case for either command. */
const both = (name, run) => BOTH.map((path) => [`${name} (${path})`, (w) => run(w, path)]);
const refused = (w, path, data, code, status = 401) =>
  w.bad(path, data, "InvalidSessionToken", status, new RegExp(`^${code}: \\S`));

export const cases = [
  ...both("with nothing but a token", async (w, path) => {
    const { sessionToken, sessionId, own, expiresAt } = await w.session();
    const said = await w.good(path, { sessionToken });
    assert.equal(said.sessionId, sessionId);
    assert.equal(said.userId, own.user_id);
    assert.deepEqual([said.createdAt, said.expiresAt], [seconds(own.created_at), expiresAt]);
    assert.equal(said.hasDeviceRegistered, false);
    assert.deepEqual(said.tags ?? [], []);
    assert.equal(said.metadata ?? null, null);
    assert.ok(!("newSessionToken" in said), "a fresh token is not replaced");
  }),
  ...both("with all that can be said, and null instead", async (w, path) => {
    const more = { userAgent: FIREFOX, ipAddress: "203.0.113.7" };
    const { sessionToken, own } = await w.session({ ...more, tags: ["mfa:yes", "role:admin"], metadata: { plan: "pro" } });
    const all = { sessionToken, ...more, requiredTags: ["mfa:yes"], ignoreDeviceForVerification: false };
    const said = await w.good(path, all);
    assert.deepEqual([said.tags.toSorted(), said.metadata], [["mfa:yes", "role:admin"], { plan: "pro" }]);
    assert.equal(said.userId, own.user_id);
    const nulls = { userAgent: null, ipAddress: null, requiredTags: null, deviceVerification: null, ignoreDeviceForVerification: null };
    await w.good(path, { sessionToken, ...nulls });
    await w.good(path, { sessionToken, requiredTags: [], ignoreDeviceForVerification: true });
  }),
  ...both("is an activity of the session", async (w, path) => {
    const { sessionToken, sessionId, own } = await w.session();
    await until("the clock goes on", () => seconds(own.last_active_at) < now() || pause(20));
    await w.good(path, { sessionToken });
    await until("the activity is seen", async () => seconds((await w.server.session(sessionId)).last_active_at) > seconds(own.last_active_at));
    near(seconds((await w.server.session(sessionId)).last_active_at), now());
  }),
  ...both("without a token, or with what is none", async (w, path) => {
    await refused(w, path, {}, "token_missing");
    await refused(w, path, w.orNull({ sessionToken: null }), "token_missing");
    await refused(w, path, { sessionToken: "" }, "token_missing");
    for (const sessionToken of ["x", "hst_x", "eyJhbGciOiJub25lIn0.e30.", "hst_" + "a".repeat(300), "\u0000é"])
      await refused(w, path, { sessionToken }, "token_(malformed|unknown)");
  }),
  ...both("with a token whose last letter is another", async (w, path) => {
    const { sessionToken } = await w.session();
    const other = sessionToken.slice(0, -1) + (sessionToken.endsWith("a") ? "b" : "a");
    await refused(w, path, { sessionToken: other }, "token_(malformed|unknown)");
    await w.good(path, { sessionToken });
  }),
  ...both("of a session that was ended, by either API", async (w, path) => {
    const [mine, theirs] = [await w.session(), await w.session()];
    await w.good("session.invalidateById", { sessionId: mine.sessionId });
    await w.server.api("DELETE", `/v1/sessions/${theirs.sessionId}?reason=lost`);
    for (const { sessionToken } of [mine, theirs]) await refused(w, path, { sessionToken }, "session_revoked");
  }),
  ...both("of a session that nobody used for too long", async (w, path) => {
    const { sessionToken, sessionId } = await w.session({ tags: ["sleep:soon"] });
    await until("it is idle for too long", async () => (await w.server.endOf(sessionId)) === "session_idle");
    await refused(w, path, { sessionToken }, "session_idle");
    await w.bad("session.fetchById", { sessionId }, "SessionNotFound", 404);
  }),
  ...both("without a tag that is required, which ends nothing", async (w, path) => {
    const { sessionToken, sessionId } = await w.session({ tags: ["role:admin"] });
    const said = await refused(w, path, { sessionToken, requiredTags: ["role:admin", "mfa:yes"] }, "tag_missing", 403);
    assert.match(said, /mfa:yes/);
    await w.server.told("tag_missing", { session: sessionId });
    await w.good("session.update", { sessionId, tagsToAdd: ["mfa:yes"] });
    await w.good(path, { sessionToken, requiredTags: ["role:admin", "mfa:yes"] });
  }),
  ...both("with what is no tag", async (w, path) => {
    const { sessionToken } = await w.session();
    await w.bad(path, { sessionToken, requiredTags: ["none"] }, "UnexpectedError", 400, /^tag_invalid: /);
  }),
  ...both("from another browser, which ends the session", async (w, path) => {
    const { sessionToken, sessionId } = await w.session({ userAgent: FIREFOX });
    await refused(w, path, { sessionToken, userAgent: CHROME }, "user_agent_changed");
    assert.equal(await w.server.endOf(sessionId), "user_agent_changed");
    await refused(w, path, { sessionToken, userAgent: FIREFOX }, "user_agent_changed");
  }),
  ...both("from another build of the same browser, which is no news", async (w, path) => {
    const { sessionToken } = await w.session({ userAgent: CHROME });
    await w.good(path, { sessionToken, userAgent: CHROME.replace("138.0.0.0", "139.0.1.2") });
  }),
  ...both("from an address that the lists refuse", async (w, path) => {
    const ipAddress = "203.0.113.7";
    const office = await w.session({ tags: ["from:office"], ipAddress });
    const abroad = await w.session({ tags: ["from:abroad"], ipAddress });
    const ask = ({ sessionToken }, ipAddress) => ({ sessionToken, ...(ipAddress !== undefined && { ipAddress }) });
    await w.bad(path, ask(office, "192.0.2.1"), "IpAddressError", 403, /^ip_not_allowed: /);
    await w.bad(path, ask(office), "IpAddressError", 403, /^ip_missing: /);
    await w.bad(path, ask(abroad, "198.51.100.9"), "IpAddressError", 403, /^ip_blocked: /);
    await w.bad(path, ask(abroad, "nowhere"), "IpAddressError", 400, /^invalid_request: \/data\/ipAddress: /);
    for (const one of [office, abroad]) {
      assert.equal(await w.server.endOf(one.sessionId), undefined, "an address ends nothing");
      await w.good(path, ask(one, ipAddress));
    }
    await w.server.told("ip_not_allowed", { session: office.sessionId });
    await w.server.told("ip_blocked", { session: abroad.sessionId });
  }),
  ...both("after the absolute end", async (w, path) => {
    const { sessionToken, sessionId, own, expiresAt } = await w.session({ tags: ["life:short"] });
    assert.equal(expiresAt, seconds(own.created_at) + 1);
    await until("it is over", async () => (await w.server.endOf(sessionId)) === "session_expired");
    await refused(w, path, { sessionToken }, "session_expired");
  }),
  ...both("after another login took the place", async (w, path) => {
    const userId = w.user();
    const [first, second] = [await w.session({ userId, tags: ["places:one"] }), await w.session({ userId, tags: ["places:one"] })];
    await refused(w, path, { sessionToken: first.sessionToken }, "session_evicted");
    await w.good(path, { sessionToken: second.sessionToken });
    assert.equal(await w.server.endOf(first.sessionId), "session_evicted");
  }),
  ...both("from another network, where the policy looks", async (w, path) => {
    const ipAddress = "203.0.113.7";
    const [asked, ended] = [await w.session({ tags: ["net:asks"], ipAddress }), await w.session({ tags: ["net:ends"], ipAddress })];
    await refused(w, path, { sessionToken: asked.sessionToken, ipAddress: "192.0.2.1" }, "reauthentication_required", 403);
    await w.good(path, { sessionToken: asked.sessionToken, ipAddress });
    await refused(w, path, { sessionToken: ended.sessionToken, ipAddress: "192.0.2.1" }, "ip_changed");
    assert.equal(await w.server.endOf(ended.sessionId), "ip_changed");
  }),
  ...both("with another kind of credential", async (w, path) => {
    const { refresh_token } = await w.server.api("POST", "/v1/sessions", { user_id: w.user(), refresh: true });
    const { own } = await w.session();
    const { statelessToken } = await w.good("session.createStatelessToken", { userId: own.user_id });
    for (const sessionToken of [refresh_token, statelessToken, w.key]) await refused(w, path, { sessionToken }, "token_(wrong_kind|malformed)");
  }),
  [
    "a token from before the user authenticated again",
    async (w) => {
      const { sessionToken, sessionId } = await w.session();
      const { token } = await w.server.api("PATCH", `/v1/sessions/${sessionId}`, { auth: { methods: ["otp"], level: 2 } });
      await refused(w, "session.validate", { sessionToken }, "token_superseded");
      assert.equal((await w.good("session.validate", { sessionToken: token })).sessionId, sessionId);
    },
  ],
  [
    "an old token is replaced by validateAndRefresh, and by that alone",
    async (w) => {
      const { sessionToken, sessionId } = await w.session({ tags: ["turn:fast"] });
      const { newSessionToken } = await until("a new token", async () => {
        const said = await w.good("session.validateAndRefresh", { sessionToken });
        return said.newSessionToken && said;
      });
      assert.notEqual(newSessionToken, sessionToken);
      assert.equal((await w.good("session.validate", { sessionToken: newSessionToken })).sessionId, sessionId);
      // Requests that left before the answer arrived still pass, and get the same one.
      await w.good("session.validate", { sessionToken });
      const late = await w.good("session.validateAndRefresh", { sessionToken });
      assert.ok([undefined, newSessionToken].includes(late.newSessionToken));
      const { generation } = await w.server.session(sessionId);
      assert.ok(generation >= 1, `${generation}`);
      assert.equal(await w.server.verdict(newSessionToken), "valid");
    },
  ],
  [
    "validate replaces none, however old",
    async (w) => {
      const { sessionToken, sessionId, own } = await w.session({ tags: ["turn:fast"] });
      await until("the token is old", () => Date.now() > Date.parse(own.created_at) + 1500 || pause(50));
      await w.good("session.validate", { sessionToken });
      assert.equal((await w.server.session(sessionId)).generation, own.generation);
      assert.ok((await w.good("session.validateAndRefresh", { sessionToken })).newSessionToken);
    },
  ],
  [
    "a copied token is found out when both are used",
    async (w) => {
      const { sessionToken, sessionId } = await w.session({ tags: ["copies:shown"] });
      const { newSessionToken } = await until("a new token", async () => {
        const said = await w.good("session.validateAndRefresh", { sessionToken });
        return said.newSessionToken && said;
      });
      await w.good("session.validate", { sessionToken: newSessionToken });
      const presented = Date.now();
      await until("the old token is no longer just late", () => Date.now() > presented + 1500 || pause(50));
      await refused(w, "session.validateAndRefresh", { sessionToken }, "token_reused");
      await refused(w, "session.validate", { sessionToken: newSessionToken }, "token_reused");
      assert.equal(await w.server.endOf(sessionId), "token_reused");
    },
  ],
];
