// The back button after a logout. Browsers keep whole pages in memory (the back-forward cache) and show them again
// without asking anybody, with everything that was on them.
import assert from "node:assert/strict";
import { test } from "node:test";
import { call, login } from "../support/chromium.mjs";
import { until } from "../support/wait.mjs";
import { world } from "../support/world.mjs";

/** A page that shows whose session it is, and remembers whether it came from the back-forward cache. */
const account = (more = "") => `<!doctype html><title>account</title><h1>…</h1><script>
  const show = async () => {
    const answer = await fetch("/v1/auth/session");
    document.querySelector("h1").textContent = answer.ok ? (await answer.json()).user.id : "nobody";
  };
  addEventListener("pageshow", (event) => (window.restored = event.persisted));
  ${more}
  show();
</script>`;
const html = (headers, text) => (_, response) => response.writeHead(200, { "content-type": "text/html", ...headers }).end(text);

const here = world({
  // Playwright switches the cache off; this file is about it.
  browser: { ignoreDefaultArgs: ["--disable-back-forward-cache"] },
  pages: {
    "/careless": html({}, account()),
    "/asks-again": html({}, account('addEventListener("pageshow", (event) => event.persisted && show());')),
    "/no-store": html({ "cache-control": "no-store" }, account()),
  },
});
const heading = (page) => page.locator("h1").textContent();
const shows = (page, what) => until(`the page shows ${what}`, async () => (await heading(page)) === what);

async function visit(path, leave) {
  const page = await here.tab("/");
  const id = await login(page, "ada");
  await page.goto(here.app + path);
  await shows(page, "ada");
  if (leave) {
    assert.equal((await call(page, "POST", "/v1/auth/logout")).status, 204);
    await here.handstamp.ended(id, "session_revoked");
  }
  await page.goto(`${here.app}/`);
  await page.goBack({ waitUntil: "commit" });
  await until("the page is there", () => page.evaluate(() => window.restored !== undefined));
  return page;
}

test("this browser does restore pages as they were, so that the cases below mean something", async () => {
  const page = await visit("/careless", false);
  assert.equal(await page.evaluate(() => window.restored), true);
  assert.equal(await heading(page), "ada");
});

test("a page with no-store does not show the session again", async () => {
  const page = await visit("/no-store", true);
  assert.equal(await page.evaluate(() => window.restored), false);
  await shows(page, "nobody");
});

test("a page that asks again when it is restored does not either", async () => {
  const page = await visit("/asks-again", true);
  await shows(page, "nobody");
});

test("nothing of the API is in the browser's own cache", async () => {
  const page = await visit("/no-store", true);
  const kept = await call(page, "GET", "/v1/auth/session", {}, { cache: "force-cache" });
  assert.equal(kept.status, 401, "force-cache would show an answer of before the logout");
});

test("what a page without care shows after the logout is its own copy: the server cannot take that back", async () => {
  const page = await visit("/careless", true);
  assert.equal(await page.evaluate(() => window.restored), true);
  assert.equal(await heading(page), "ada", "so pages need no-store, or ask again");
  assert.equal((await call(page, "GET", "/v1/auth/session")).status, 401, "but nothing can be done with it");
});
