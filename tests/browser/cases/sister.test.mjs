// The application on app.example.test, the browser API on api.example.test: two origins of one site. Handstamp answers
// by its own TLS. Also axios, as published, which has an opinion of its own about tokens and origins.
import assert from "node:assert/strict";
import { test } from "node:test";
import { call, cookie, login, readable } from "../support/chromium.mjs";
import { API, APP } from "../support/handstamp.mjs";
import { origins, SISTER, world } from "../support/world.mjs";

const here = world({
  config: SISTER + origins(APP),
  pages: { "/axios": '<!doctype html><title>axios</title><script src="/axios.js"></script>' },
});
const somebody = async (user, at = "/") => {
  const page = await here.tab(at);
  return { page, id: await login(page, user) };
};

test("both cookies reach the API host, and the page reads the one that is for it", async () => {
  const { page, id } = await somebody("ada");
  const secret = await cookie(page.context(), "__Secure-handstamp");
  assert.deepEqual([secret.domain, secret.httpOnly, secret.sameSite], [".example.test", true, "Lax"]);
  const { status, body } = await call(page, "GET", `${API}/v1/auth/session`);
  assert.equal(status, 200);
  assert.equal(body.session.id, id);
  assert.equal(body.csrf_token, await readable(page));
});

test("an unsafe call passes its preflight with the CSRF header, and is refused without", async () => {
  const { page, id } = await somebody("grace");
  const phone = await somebody("grace");
  const bare = await call(page, "DELETE", `${API}/v1/auth/sessions/${phone.id}`);
  assert.deepEqual([bare.status, bare.body.code], [403, "csrf_token_invalid"]);
  await here.handstamp.live(phone.id);
  await page.context().clearCookies({ name: "XSRF-TOKEN" });
  await call(page, "DELETE", `${API}/v1/auth/sessions/${phone.id}`);
  const headers = { "X-XSRF-TOKEN": await readable(page) }; // the refusal brought it, over the origins
  const answer = await call(page, "DELETE", `${API}/v1/auth/sessions/${phone.id}`, headers);
  assert.ok(answer.status < 300, answer.text);
  await here.handstamp.ended(phone.id, "session_revoked");
  await here.handstamp.live(id);
});

test("the page can read the headers of the rate limit", async () => {
  const { page } = await somebody("ada");
  const ask = async () => (await call(page, "GET", `${API}/v1/auth/session`)).headers;
  const [first, second] = [await ask(), await ask()];
  assert.equal(first["x-ratelimit-limit"], "15000");
  assert.ok(Number(second["x-ratelimit-remaining"]) < 15000);
  assert.ok(Number(second["x-ratelimit-reset"]) >= Math.floor(Date.now() / 1000) - 5);
  assert.match(first["x-request-id"], /\w+/);
});

test("PUT and PATCH pass the preflight: the server itself answers them", async () => {
  const { page } = await somebody("ada");
  for (const method of ["PUT", "PATCH"]) {
    const headers = { "X-XSRF-TOKEN": await readable(page), "content-type": "application/json" };
    const answer = await call(page, method, `${API}/v1/auth/session`, headers, { body: "{}" });
    assert.equal(answer.status, 405, `${method}: ${JSON.stringify(answer)}`);
  }
  const headers = { "X-Not-Allowed": "1" };
  assert.ok((await call(page, "GET", `${API}/v1/auth/session`, headers)).failed, "any other header is stopped");
});

test("logout over the origins ends the session and clears both cookies", async () => {
  const { page, id } = await somebody("ada");
  assert.equal((await call(page, "POST", `${API}/v1/auth/logout`)).status, 204);
  await here.handstamp.ended(id, "session_revoked");
  assert.deepEqual(await page.context().cookies(), []);
});

/** A call by axios in the page, with the settings that its documentation gives for cookies and XSRF. */
const byAxios = (page, method, url, more) =>
  page.evaluate(
    ([method, url, more]) =>
      globalThis.axios
        .create({ withCredentials: true, xsrfCookieName: "XSRF-TOKEN", xsrfHeaderName: "X-XSRF-TOKEN", ...more })
        .request({ method, url })
        .then(({ status, data }) => ({ status, data }))
        .catch(({ response, message }) => ({ status: response?.status, code: response?.data?.code, message })),
    [method, url, more],
  );

test("axios sends no CSRF header to another origin, and is refused", async () => {
  const { page, id } = await somebody("bob", "/axios");
  const phone = await somebody("bob");
  assert.equal((await byAxios(page, "get", `${API}/v1/auth/session`)).status, 200);
  const answer = await byAxios(page, "delete", `${API}/v1/auth/sessions/${phone.id}`);
  assert.deepEqual([answer.status, answer.code], [403, "csrf_token_invalid"]);
  await here.handstamp.live(phone.id);
  // What needs no header works for it all the same.
  assert.equal((await byAxios(page, "post", `${API}/v1/auth/session/refresh`)).status, 200);
  assert.equal((await byAxios(page, "post", `${API}/v1/auth/logout`)).status, 204);
  await here.handstamp.ended(id, "session_revoked");
});

test("axios with withXSRFToken sends it, and passes", async () => {
  const { page, id } = await somebody("bob", "/axios");
  const phone = await somebody("bob");
  const answer = await byAxios(page, "delete", `${API}/v1/auth/sessions/${phone.id}`, { withXSRFToken: true });
  assert.ok(answer.status < 300, JSON.stringify(answer));
  await here.handstamp.ended(phone.id, "session_revoked");
  await here.handstamp.live(id);
});
