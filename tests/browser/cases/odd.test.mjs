// Cookies that should not be there: two of the name, one of 8 KiB, a jar that is too full. A refusal, never a guess, and
// the session stays as it was. A plain name, because the browser itself protects names with the prefix __Host-.
import assert from "node:assert/strict";
import { test } from "node:test";
import { call, cookie, login } from "../support/chromium.mjs";
import { LOGIN, send } from "../support/handstamp.mjs";
import { world } from "../support/world.mjs";

const NAME = "fltr_session";
const here = world({ config: `[cookie]\nname = "${NAME}"\n` });
const raw = (headers, path = "/v1/auth/session", method = "GET") =>
  send(`${here.handstamp.url}${path}`, { method, headers, ca: here.handstamp.ca });
const somebody = async (user) => {
  const page = await here.tab("/");
  return { page, id: await login(page, user) };
};

/** The session answers nothing to this page, for as long as the strange cookie is there; then everything as before. */
async function refusedUntilGone(page, id, gone) {
  const before = await here.handstamp.session(id);
  for (const [method, path] of [["GET", "session"], ["POST", "session/refresh"], ["POST", "sessions/revoke-others"]]) {
    const answer = await call(page, method, `/v1/auth/${path}`);
    assert.deepEqual([answer.status, answer.body?.code], [401, "session_not_found"], `${method} ${path}`);
    assert.ok(!answer.text.includes(id));
  }
  await here.handstamp.live(id);
  assert.equal((await here.handstamp.session(id)).last_active_at, before.last_active_at, "not even activity");
  await gone();
  assert.equal((await call(page, "GET", "/v1/auth/session")).body.session.id, id);
}

test("a second cookie of the name, set by a script for a path", async () => {
  const { page, id } = await somebody("ada");
  await page.evaluate((name) => (document.cookie = `${name}=hst_planted; path=/v1; secure`), NAME);
  assert.equal((await page.context().cookies(`${here.app}/v1/auth/session`)).filter((one) => one.name === NAME).length, 2);
  await refusedUntilGone(page, id, () => page.evaluate((name) => (document.cookie = `${name}=; path=/v1; max-age=0; secure`), NAME));
});

test("a second cookie of the name, tossed by a sister host with somebody else's good session", async () => {
  const { page, id } = await somebody("ada");
  const sister = await here.tab(LOGIN, page.context());
  const other = await somebody("eve");
  const theirs = (await cookie(other.page.context(), NAME)).value;
  await sister.evaluate(([name, value]) => (document.cookie = `${name}=${value}; domain=example.test; path=/; secure`), [NAME, theirs]);
  await refusedUntilGone(page, id, () => page.context().clearCookies({ name: NAME, domain: ".example.test" }));
  await here.handstamp.live(other.id);
});

test("a jar that is too full is refused before anything is read, and the session survives it", async () => {
  const { page, id } = await somebody("ada");
  const big = Array.from({ length: 6 }, (_, n) => ({ name: `big${n}`, value: "x".repeat(3500), url: here.app }));
  await page.context().addCookies(big.slice(0, 2));
  assert.equal((await call(page, "GET", "/v1/auth/session")).status, 200, "7 KiB of other cookies are no matter");
  await page.context().addCookies(big);
  const answer = await call(page, "GET", "/v1/auth/session");
  assert.ok([400, 431].includes(answer.status), `${answer.status}`);
  await here.handstamp.live(id);
  await page.context().clearCookies({ name: /^big/ });
  assert.equal((await call(page, "GET", "/v1/auth/session")).status, 200);
});

test("a session cookie of 8 KiB: a browser keeps none, and the server refuses it from others", async () => {
  const { page, id } = await somebody("ada");
  await page.evaluate((name) => (document.cookie = `${name}=${"x".repeat(8192)}; path=/v1; secure`), NAME);
  assert.equal((await call(page, "GET", "/v1/auth/session")).status, 200, "it never came into the jar");
  const { value } = await cookie(page.context(), NAME);
  for (const long of ["x".repeat(8192), value + "x".repeat(8192), `hst_${"0".repeat(8192)}`]) {
    const answer = await raw({ cookie: `${NAME}=${long}` });
    assert.equal(answer.status, 401, answer.text);
    assert.equal(answer.body.code, "session_not_found", "no word of what is wrong with it");
    const out = await raw({ cookie: `${NAME}=${long}`, "sec-fetch-site": "same-origin" }, "/v1/auth/logout", "POST");
    assert.equal(out.status, 204, "to log out without a session is no error, and ends none");
  }
  await here.handstamp.live(id);
});
