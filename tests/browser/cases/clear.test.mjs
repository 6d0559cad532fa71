// `[browser] clear_site_data`: a logout also asks the browser to forget what the site keeps there. On http://localhost,
// because browsers obey only where the connection is beyond doubt, and the certificate of the tests is not.
import assert from "node:assert/strict";
import { test } from "node:test";
import { call, login } from "../support/chromium.mjs";
import { until } from "../support/wait.mjs";
import { world } from "../support/world.mjs";

const asked = world({ local: true, config: "[browser]\nclear_site_data = true\n" });
const silent = world({ local: true });

/** A page with something in its storage and in a cookie of its own, after a logout. */
async function loggedOut(here) {
  const page = await here.tab("/");
  const id = await login(page, "ada");
  await page.evaluate(() => {
    localStorage.setItem("draft", "secret");
    document.cookie = "theme=dark; path=/";
  });
  assert.equal((await call(page, "POST", "/v1/auth/logout")).status, 204);
  await here.handstamp.ended(id, "session_revoked");
  return page;
}
const kept = (page) => page.evaluate(() => [localStorage.getItem("draft"), document.cookie]);

test("asked for, storage and cookies are gone with the session", async () => {
  const page = await loggedOut(asked);
  await until("nothing is kept", async () => `${await kept(page)}` === ",");
});

test("else they stay, and only the session's two cookies go", async () => {
  const page = await loggedOut(silent);
  assert.deepEqual(await kept(page), ["secret", "theme=dark"]);
  assert.deepEqual((await page.context().cookies()).map((one) => one.name), ["theme"]);
});
