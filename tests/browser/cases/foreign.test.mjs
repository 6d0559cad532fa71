// A page of another site, once as a stranger and once as a page that is allowed: what the browser keeps back, what the
// server refuses, and the one arrangement that works (a partitioned cookie, set by the page's own fetch).
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { call, cookie, login, readable } from "../support/chromium.mjs";
import { API, APP, LOGIN, OTHER, send } from "../support/handstamp.mjs";
import { origins, SISTER, world } from "../support/world.mjs";

const ANYWHERE = '[cookie]\nname = "__Secure-handstamp"\ndomain = "example.test"\nsame_site = "None"\n';

/** Posts a form to the API as a navigation, which needs nobody's permission, and says where it ended. */
async function form(page, path) {
  const arrived = page.waitForResponse((answer) => answer.url().endsWith(path));
  await page.evaluate((action) => {
    const form = Object.assign(document.createElement("form"), { method: "POST", action });
    document.body.append(form);
    form.submit();
  }, `${API}${path}`);
  const answer = await arrived;
  return [answer.status(), (await answer.json()).code];
}

describe("a stranger, cookies as delivered (Lax)", () => {
  const here = world({ config: SISTER + origins(APP) });

  test("can neither read nor do anything, also not by a form", async () => {
    const page = await here.tab();
    const id = await login(page, "ada");
    const evil = await here.tab(OTHER, page.context());
    for (const [method, path] of [["GET", "session"], ["GET", "sessions"], ["POST", "logout"], ["POST", "session/refresh"], ["POST", "sessions/revoke-others"], ["DELETE", `sessions/${id}`]])
      assert.ok((await call(evil, method, `${API}/v1/auth/${path}`)).failed, `${method} ${path} was readable`);
    assert.equal(await readable(evil), null);
    await call(evil, "POST", `${API}/v1/auth/logout`, {}, { mode: "no-cors" });
    await evil.evaluate((src) => new Promise((gone) => (Object.assign(new Image(), { src, onerror: gone }))), `${API}/v1/auth/logout`);
    assert.deepEqual(await form(evil, "/v1/auth/logout"), [403, "origin_not_allowed"]);
    await here.handstamp.live(id);
    assert.equal((await call(page, "GET", `${API}/v1/auth/session`)).status, 200);
  });
});

describe("a stranger, SameSite=None", () => {
  const here = world({ config: ANYWHERE + origins(APP) });

  test("a form brings the cookie along, and is refused by its origin", async () => {
    const page = await here.tab();
    const id = await login(page, "ada");
    for (const path of ["logout", "session/refresh", "sessions/revoke-others"]) {
      const evil = await here.tab(OTHER, page.context());
      const arrived = evil.waitForRequest((request) => request.url().endsWith(path));
      assert.deepEqual(await form(evil, `/v1/auth/${path}`), [403, "origin_not_allowed"], path);
      const { cookie: sent = "" } = await (await arrived).allHeaders();
      assert.match(sent, /__Secure-handstamp=hst_/, "else this test would prove nothing");
    }
    await here.handstamp.live(id);
    assert.equal((await here.handstamp.session(id)).generation, 0);
  });

  test("a sandboxed frame, even in the application's own page, has the origin null and may do nothing", async () => {
    const page = await here.tab();
    const id = await login(page, "ada");
    // The answer may not be framed, so all that the page learns of it is a line in its console.
    const told = page.waitForEvent("console", (line) => line.text().includes("status of 403"));
    await page.evaluate((action) => {
      const inner = `<form method="post" action="${action}"></form><script>document.forms[0].submit()</script>`;
      document.body.append(Object.assign(document.createElement("iframe"), { sandbox: "allow-scripts allow-forms", srcdoc: inner }));
    }, `${API}/v1/auth/logout`);
    await told;
    const token = (await cookie(page.context(), "__Secure-handstamp")).value;
    const same = await send(`${here.handstamp.url}/v1/auth/logout`, {
      method: "POST", ca: here.handstamp.ca,
      headers: { origin: "null", "sec-fetch-site": "cross-site", cookie: `__Secure-handstamp=${token}` },
    });
    assert.deepEqual([same.status, same.body.code], [403, "origin_not_allowed"]);
    await here.handstamp.live(id);
  });
});

describe("a sister host that is not allowed", () => {
  const here = world({ config: SISTER + origins(APP) });

  test("gets the cookie sent, for it is the same site, and can still do and read nothing", async () => {
    const page = await here.tab();
    const id = await login(page, "ada");
    const before = await here.handstamp.session(id);
    const sister = await here.tab(LOGIN, page.context());
    const right = await readable(sister); // the CSRF cookie is for all hosts of the site: it alone opens nothing
    assert.equal(right, await readable(page));
    for (const [method, path] of [["GET", "session"], ["GET", "sessions"], ["POST", "logout"], ["POST", "session/refresh"], ["POST", "sessions/revoke-others"], ["DELETE", `sessions/${id}`]])
      assert.ok((await call(sister, method, `${API}/v1/auth/${path}`, method === "GET" ? {} : { "X-XSRF-TOKEN": right })).failed, `${method} ${path}`);
    for (const path of ["logout", "session/refresh", "sessions/revoke-others"]) {
      const tab = await here.tab(LOGIN, page.context());
      const arrived = tab.waitForRequest((request) => request.url().endsWith(path));
      assert.deepEqual(await form(tab, `/v1/auth/${path}`), [403, "origin_not_allowed"], path);
      assert.match((await (await arrived).allHeaders()).cookie, /__Secure-handstamp=hst_/, "else this would prove nothing");
    }
    const after = await here.handstamp.session(id);
    assert.deepEqual([after.state, after.generation], ["live", before.generation]);
  });
});

describe("an allowed page of another site, SameSite=None without Partitioned", () => {
  const here = world({ config: ANYWHERE + origins(APP, OTHER) });

  test("this browser sends no third-party cookies: it asks as nobody, also after a login of its own", async () => {
    const page = await here.tab();
    const id = await login(page, "ada");
    const foreign = await here.tab(OTHER, page.context());
    const answer = await call(foreign, "GET", `${API}/v1/auth/session`);
    assert.deepEqual([answer.status, answer.body?.code], [401, "token_missing"], JSON.stringify(answer));
    await login(foreign, "ada", { at: LOGIN });
    assert.equal((await call(foreign, "GET", `${API}/v1/auth/session`)).status, 401);
    await here.handstamp.live(id);
  });
});

describe("an allowed page of another site", () => {
  const lax = world({ config: SISTER + origins(APP, OTHER) });

  test("with Lax cookies it may ask, but asks as nobody", async () => {
    const page = await lax.tab();
    const id = await login(page, "ada");
    const foreign = await lax.tab(OTHER, page.context());
    const answer = await call(foreign, "GET", `${API}/v1/auth/session`);
    assert.deepEqual([answer.status, answer.body?.code], [401, "token_missing"], JSON.stringify(answer));
    await call(foreign, "POST", `${API}/v1/auth/logout`);
    await lax.handstamp.live(id);
  });
});

describe("an allowed page of another site, with partitioned cookies", () => {
  const here = world({
    config: `${ANYWHERE}partitioned = true\n${origins(APP, OTHER)}`,
    pages: {
      // A login that a redirect passes through: it sets the cookies, and leads back.
      "/through": async (_, response, front) => {
        const { set_cookie } = await front.handstamp.api("POST", "/v1/sessions", { user_id: "grace" });
        response.writeHead(303, { location: `${OTHER}/`, "set-cookie": set_cookie }).end();
      },
    },
  });

  test("a cookie that a login redirect sets on its way through is in that host's own jar, and never seen here", async () => {
    const page = await here.tab(OTHER);
    await page.goto(`${LOGIN}/through`);
    assert.equal(page.url(), `${OTHER}/`);
    assert.equal((await call(page, "GET", `${API}/v1/auth/session`)).status, 401);
    const own = await here.tab(APP, page.context());
    assert.equal((await call(own, "GET", `${API}/v1/auth/session`)).body.user.id, "grace", "there it is");
  });

  test("a login by the page's own fetch is in its partition, and everything works with the token of the answer", async () => {
    const page = await here.tab(OTHER);
    const id = await login(page, "ada", { at: LOGIN });
    const phone = await login(await here.tab(OTHER), "ada", { at: LOGIN });
    const kept = await cookie(page.context(), "__Secure-handstamp");
    assert.ok(kept.partitionKey?.includes("other.test"), JSON.stringify(kept));
    const session = await call(page, "GET", `${API}/v1/auth/session`);
    assert.equal(session.status, 200, JSON.stringify(session));
    assert.equal(session.body.session.id, id);
    assert.equal(await readable(page), null, "a cookie of another site is never readable, so the answer has the token");

    const url = `${API}/v1/auth/sessions/${phone}`;
    const bare = await call(page, "DELETE", url);
    assert.deepEqual([bare.status, bare.body?.code], [403, "csrf_token_invalid"], JSON.stringify(bare));
    await here.handstamp.live(phone);
    const right = await call(page, "DELETE", url, { "X-XSRF-TOKEN": session.body.csrf_token });
    assert.ok(right.status < 300, JSON.stringify(right));
    await here.handstamp.ended(phone, "session_revoked");

    const out = await call(page, "POST", `${API}/v1/auth/logout`, { "X-XSRF-TOKEN": session.body.csrf_token });
    assert.equal(out.status, 204, JSON.stringify(out));
    await here.handstamp.ended(id, "session_revoked");
    assert.equal(await cookie(page.context(), "__Secure-handstamp"), undefined);
  });

  test("the same session is not seen from the application's own page: another partition", async () => {
    const page = await here.tab(OTHER);
    await login(page, "ada", { at: LOGIN });
    const own = await here.tab(APP, page.context());
    assert.equal((await call(own, "GET", `${API}/v1/auth/session`)).status, 401);
  });
});
