// Somebody without a session is sent to a login page of another site and comes back with a one-time code: through five
// redirects over three hosts, and the cookie is where it belongs at the end.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { test } from "node:test";
import { call, cookie } from "../support/chromium.mjs";
import { text } from "../support/front.mjs";
import { API, APP, OTHER } from "../support/handstamp.mjs";
import { world } from "../support/world.mjs";

const SESSION = "__Host-handstamp";
const SECRET = "__Host-login";
const ENTER = '<!doctype html><title>enter</title><form method="post"><input name="user"><button>Enter</button></form>';

const secretOf = (request) => request.headers.cookie?.match(new RegExp(`${SECRET}=([^;]*)`))?.[1];
const go = (response, location, cookies = []) => response.writeHead(303, { location, "set-cookie": cookies }).end();

/** The application: a page for whoever is logged in. Takes codes only for logins that this browser began. */
async function data(request, response, front) {
  const url = new URL(request.url, APP);
  const code = url.searchParams.get("login_code");
  if (code) {
    const asked = { code, origin: APP, code_verifier: secretOf(request) };
    if (!asked.code_verifier) return response.writeHead(400).end("this browser began no login");
    const made = await front.handstamp.api("POST", "/v1/login/exchange", asked, [200, 400, 401, 403, 409]);
    if (!made.set_cookie) return response.writeHead(400).end(made.code);
    return go(response, made.redirect_uri, made.set_cookie);
  }
  const token = request.headers.cookie?.match(new RegExp(`${SESSION}=([^;]*)`))?.[1] ?? "";
  const verdict = await front.handstamp.api("POST", "/v1/sessions/validate", { token });
  if (verdict.valid) return response.writeHead(200, { "content-type": "text/html" }).end(`<h1>${verdict.session.user_id}</h1>`);
  const secret = randomBytes(32).toString("base64url");
  const code_challenge = createHash("sha256").update(secret).digest("base64url");
  const to = new URLSearchParams({ redirect_uri: url.href, code_challenge });
  go(response, `${API}/login?${to}`, [`${SECRET}=${secret}; Path=/; Secure; HttpOnly; SameSite=Lax`]);
}

/** The login page and its backend, on another site. */
async function enter(request, response, front) {
  if (request.method === "GET") return response.writeHead(200, { "content-type": "text/html" }).end(ENTER);
  const asked = Object.fromEntries(new URL(request.url, OTHER).searchParams);
  const user_id = new URLSearchParams(await text(request)).get("user");
  const made = await front.handstamp.api("POST", "/v1/sessions", { user_id, login: asked });
  if (front.kept) return response.writeHead(200).end(front.kept(made.login.redirect_to));
  go(response, made.login.redirect_to);
}

const here = world({
  config: `[login]\nurl = "${OTHER}/enter"\nredirect_origins = ["${APP}"]\n`,
  pages: { "/data": data, "/enter": enter },
});
async function begun(user) {
  const page = await here.tab("/data?q=a%20b&c=%C3%A9#part");
  assert.equal(new URL(page.url()).origin, OTHER, "at the login page, over Handstamp");
  await page.locator("input").fill(user);
  return page;
}

test("there and back: logged in on the page that was wanted, and the code is not in the address any more", async () => {
  const page = await begun("ada");
  await page.getByRole("button").click();
  await page.locator("h1").waitFor();
  assert.equal(await page.locator("h1").textContent(), "ada");
  const { origin, pathname, search } = new URL(page.url());
  assert.deepEqual([origin, pathname, search], [APP, "/data", "?q=a%20b&c=%C3%A9"]);
  assert.equal((await cookie(page.context(), SESSION)).domain, new URL(APP).host);
  assert.equal((await call(page, "GET", "/v1/auth/session")).body.user.id, "ada");
});

test("an address with a code that somebody slips to another browser logs nobody in", async () => {
  const mine = await begun("eve");
  const slipped = new Promise((kept) => (here.front.kept = kept)); // eve does not follow it herself
  await mine.getByRole("button").click();
  const address = await slipped;
  here.front.kept = undefined;
  const victim = await begun("ada"); // who has begun a login as well
  const answer = await victim.goto(address);
  assert.deepEqual([answer.status(), await answer.text()], [400, "login_code_invalid"]);
  assert.equal(await cookie(victim.context(), SESSION), undefined);
});

test("a foreign redirect_uri is refused on the spot", async () => {
  const page = await here.tab("/");
  for (const uri of [OTHER, `${APP}.evil.test/`, `https://app.example.test@other.test/`, "javascript:alert(1)", "//other.test"]) {
    const answer = await page.goto(`${API}/login?redirect_uri=${encodeURIComponent(uri)}`);
    assert.equal(answer.status(), 400, uri);
    assert.equal(new URL(page.url()).origin, API, uri);
  }
});
