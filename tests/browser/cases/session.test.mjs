// The application's own origin, with the settings as delivered: login, session, CSRF, devices, logout. Over TLS, and on
// plain http://localhost as in development.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { call, cookie, login, readable } from "../support/chromium.mjs";
import { parsed, send } from "../support/handstamp.mjs";
import { world } from "../support/world.mjs";

const SESSION = "__Host-handstamp";
const EXPOSE = '[browser]\nexpose = ["name"]\n';

for (const local of [false, true]) {
  describe(local ? "http://localhost" : "https://app.example.test", () => {
    const here = world({ local, config: EXPOSE });
    /** Somebody who is logged in: their tab, and the id of the session. */
    const somebody = async (user) => {
      const page = await here.tab("/");
      return { page, id: await login(page, user, { data: { name: "Ada", salary: 1 } }) };
    };
    const forget = (page, name) => page.context().clearCookies({ name });
    const xsrf = async (page) => ({ "X-XSRF-TOKEN": await readable(page) });

    test("without a login there is no session, and no cookie comes of asking", async () => {
      const page = await here.tab("/");
      const answer = await call(page, "GET", "/v1/auth/session");
      assert.equal(answer.status, 401);
      assert.equal(answer.body.code, "token_missing");
      assert.equal(answer.headers["cache-control"], "no-store");
      assert.equal(await cookie(page.context(), SESSION), undefined);
    });

    test("a login puts both cookies into the browser, and the page reads only the one", async () => {
      const { page, id } = await somebody("ada");
      const [secret, open] = [await cookie(page.context(), SESSION), await cookie(page.context(), "XSRF-TOKEN")];
      for (const { secure, path, sameSite } of [secret, open]) assert.deepEqual([secure, path, sameSite], [true, "/", "Lax"]);
      assert.ok(secret.httpOnly && !open.httpOnly);
      assert.equal(secret.domain, new URL(here.app).hostname, "of this host alone");
      assert.ok(!(await page.evaluate(() => document.cookie)).includes(SESSION));
      assert.equal(await readable(page), open.value, "needs no decoding, and survives it");

      const session = await here.handstamp.session(id);
      assert.equal(session.user_id, "ada");
      assert.equal(session.client.user_agent, await page.evaluate(() => navigator.userAgent));
      const left = secret.expires - Date.parse(session.expires_at) / 1000;
      assert.ok(Math.abs(left) < 5, `the cookie lives as long as the session, and not ${left} s more`);
    });

    test("the page reads its session: the user, what may be seen of the data, the token for its forms", async () => {
      const { page, id } = await somebody("ada");
      const { status, body, headers, text } = await call(page, "GET", "/v1/auth/session");
      assert.equal(status, 200);
      assert.deepEqual(body.user, { id: "ada", data: { name: "Ada" } });
      assert.equal(body.session.id, id);
      assert.equal(body.csrf_token, await readable(page));
      assert.equal(headers["cache-control"], "no-store");
      assert.ok(!text.includes("salary") && !text.includes("hst_"));
      const known = await here.handstamp.session(id);
      assert.equal(body.expires_at, known.expires_at);
      assert.ok(known.last_active_at > known.created_at, "asking is activity");
    });

    test("an unsafe call without the right token is refused, changes nothing, and mends itself", async () => {
      const { page, id } = await somebody("grace");
      const phone = await somebody("grace");
      const attempt = (headers) => call(page, "DELETE", `/v1/auth/sessions/${phone.id}`, headers);
      const refused = async (headers) => {
        const answer = await attempt(headers);
        assert.equal(answer.status, 403, answer.text);
        assert.equal(answer.body.code, "csrf_token_invalid");
        await here.handstamp.live(phone.id);
        await here.handstamp.live(id);
      };
      const right = await readable(page);
      await refused({});
      await refused({ "X-XSRF-TOKEN": "" });
      await refused({ "X-XSRF-TOKEN": `${right.slice(0, -1)}${right.endsWith("A") ? "B" : "A"}` });
      await refused({ "X-XSRF-TOKEN": await readable((await somebody("grace")).page) }); // of another session of hers
      // A pair that somebody planted: equal in cookie and header, and still not ours.
      await page.evaluate(() => (document.cookie = "XSRF-TOKEN=planted; path=/; secure"));
      assert.equal(await readable(page), "planted");
      await refused({ "X-XSRF-TOKEN": "planted" });
      assert.match(await readable(page), /^c1\./, "the refusal brought a good one");
      await forget(page, "XSRF-TOKEN");
      await refused({});

      const answer = await attempt(await xsrf(page)); // the same page: nothing was loaded again
      assert.deepEqual([answer.status, answer.body], [200, { ended: 1 }]);
      await here.handstamp.ended(phone.id, "session_revoked");
      await here.handstamp.live(id);
      // And the one that a page has held since before is as good: it is the session's, not the cookie's.
      assert.equal((await call(page, "POST", "/v1/auth/sessions/revoke-others", { "X-XSRF-TOKEN": right })).status, 200);
    });

    test("a lost token comes back with the session, without an error", async () => {
      const { page } = await somebody("grace");
      await forget(page, "XSRF-TOKEN");
      const { csrf_token } = (await call(page, "GET", "/v1/auth/session")).body;
      assert.equal(await readable(page), csrf_token);
      assert.equal((await call(page, "POST", "/v1/auth/sessions/revoke-others", { "X-XSRF-TOKEN": csrf_token })).status, 200);
    });

    test("refresh, ping by GET and by POST keep the session alive; refresh sends the cookies again", async () => {
      const { page, id } = await somebody("ada");
      const sent = here.front.sent.length;
      for (const [method, path, wanted] of [["POST", "session/refresh", 200], ["GET", "session/ping", 204], ["POST", "session/ping", 204]]) {
        const before = (await here.handstamp.session(id)).last_active_at;
        const answer = await call(page, method, `/v1/auth/${path}`, method === "POST" ? await xsrf(page) : {});
        assert.equal(answer.status, wanted, answer.text);
        assert.ok((await here.handstamp.session(id)).last_active_at > before, `${method} ${path} is activity`);
      }
      const lines = here.front.sent.slice(sent).map(({ line }) => line);
      assert.ok(lines.some((line) => line.startsWith(`${SESSION}=hst_`)), lines.join("\n"));
    });

    test("own devices: the list marks this one, ends another, and all others", async () => {
      const [laptop, phone, tablet, stranger] = [await somebody("bob"), await somebody("bob"), await somebody("bob"), await somebody("eve")];
      const list = await call(laptop.page, "GET", "/v1/auth/sessions");
      assert.equal(list.status, 200, list.text);
      assert.ok(!/hst_|salary/.test(list.text), "a list is no credential, and no data");
      const current = list.body.items.filter((one) => one.current).map((one) => one.id);
      assert.deepEqual(current, [laptop.id]);
      const all = list.body.items.map((one) => one.id);
      assert.deepEqual(all.toSorted(), [laptop.id, phone.id, tablet.id].toSorted());

      const foreign = await call(laptop.page, "DELETE", `/v1/auth/sessions/${stranger.id}`, await xsrf(laptop.page));
      assert.equal(foreign.status, 404, foreign.text);
      await here.handstamp.live(stranger.id);

      const one = await call(laptop.page, "DELETE", `/v1/auth/sessions/${phone.id}`, await xsrf(laptop.page));
      assert.ok(one.status < 300, one.text);
      await here.handstamp.ended(phone.id, "session_revoked");
      await here.handstamp.live(tablet.id);
      const told = await call(phone.page, "GET", "/v1/auth/session");
      assert.deepEqual([told.status, told.body.code], [401, "session_revoked"]);

      const rest = await call(laptop.page, "POST", "/v1/auth/sessions/revoke-others", await xsrf(laptop.page));
      assert.ok(rest.status < 300, rest.text);
      await here.handstamp.ended(tablet.id, "session_revoked");
      await here.handstamp.live(laptop.id);
      await here.handstamp.live(stranger.id);
      assert.equal((await call(tablet.page, "GET", "/v1/auth/session")).status, 401);
    });

    test("a logout in one tab is seen in the other, and a copy of the cookie is worth nothing", async () => {
      const { page, id } = await somebody("ada");
      const other = await here.tab("/", page.context());
      const elsewhere = await somebody("ada");
      assert.equal((await call(other, "GET", "/v1/auth/session")).status, 200);
      const copy = (await cookie(page.context(), SESSION)).value;

      const sent = here.front.sent.length;
      const out = await call(page, "POST", "/v1/auth/logout", await xsrf(page));
      assert.equal(out.status, 204, out.text);
      for (const { line } of here.front.sent.slice(sent)) assert.match(line, /^[\w-]+=; .*Max-Age=0\b/i);
      for (const name of [SESSION, "XSRF-TOKEN"]) assert.equal(await cookie(page.context(), name), undefined, name);
      await here.handstamp.ended(id, "session_revoked");

      const seen = await call(other, "GET", "/v1/auth/session");
      assert.deepEqual([seen.status, seen.body.code], [401, "token_missing"]);
      const stolen = await send(`http${local ? "" : "s"}://localhost:${here.front.port}/v1/auth/session`, {
        headers: { cookie: `${SESSION}=${copy}` },
        ca: here.handstamp.ca,
      });
      assert.deepEqual([stolen.status, parsed(stolen.text).code], [401, "session_revoked"]);
      assert.equal((await call(page, "POST", "/v1/auth/logout")).status, 204, "a second logout does no harm");
      assert.equal((await call(elsewhere.page, "GET", "/v1/auth/session")).status, 200, "other devices stay");
    });

    test("a page may log out, extend and keep alive without the header, other calls not", async () => {
      const { page, id } = await somebody("ada");
      for (const [path, wanted] of [["session/refresh", 200], ["session/ping", 204]])
        assert.equal((await call(page, "POST", `/v1/auth/${path}`)).status, wanted, path);
      assert.equal((await call(page, "POST", "/v1/auth/sessions/revoke-others")).status, 403);
      await here.handstamp.live(id);
      assert.equal((await call(page, "POST", "/v1/auth/logout")).status, 204);
      await here.handstamp.ended(id, "session_revoked");
    });
  });
}
