// The two ways that an example's README names for hosts of one's own, over TLS: everything on one host, and Handstamp on a
// sister host, with the very configuration that stands in the README.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { cookie, launch } from "./chromium.mjs";
import { Front } from "./front.mjs";
import { API, APP, Handstamp } from "./handstamp.mjs";
import { freePort, ownHosts, run } from "./site.mjs";

const EXPOSE = '[browser]\nexpose = ["name"]\n';

export function onOwnHosts(name) {
  const ways = {
    "one host": { config: "", api: "", session: "__Host-handstamp", domain: "app.example.test" },
    "a sister host": { config: ownHosts(name), api: API, session: "__Secure-handstamp", domain: ".example.test" },
  };
  for (const [title, { config, api, session, domain }] of Object.entries(ways)) {
    describe(`${name}: ${title}`, () => {
      let handstamp, site, front, browser;
      before(async () => {
        handstamp = await Handstamp.start({ config: EXPOSE + config, tls: true });
        site = await run(name, handstamp, {
          PORT: await freePort(),
          HANDSTAMP_URL: `https://localhost:${handstamp.port}`,
          NODE_EXTRA_CA_CERTS: handstamp.cert,
          VITE_HANDSTAMP_URL: api,
          SESSION_COOKIE: session,
        });
        front = await Front.start(handstamp, { tls: true });
        front.site = site.url;
        browser = await launch({ [new URL(APP).host]: front.port, [new URL(API).host]: handstamp.port });
      });
      after(async () => {
        await browser?.close();
        await front?.close();
        await site?.stop();
        await handstamp?.close();
      });

      test("login, notes, devices, logout", async () => {
        const devices = [];
        for (const context of [await browser.newContext(), await browser.newContext()]) {
          const page = await context.newPage();
          await page.goto(APP);
          await page.getByLabel("Name").fill("alice");
          await page.getByLabel("Password").fill("down the rabbit hole");
          await page.getByRole("button").click();
          await page.getByText("Feed the cat").waitFor();
          const own = page.locator("#devices li", { hasText: "this one" });
          await own.waitFor();
          devices.push({ context, page, id: await own.getAttribute("data-id") });
        }
        const [first, second] = devices;
        const kept = await cookie(second.context, session);
        assert.deepEqual([kept.domain, kept.httpOnly, kept.secure], [domain, true, true]);
        await second.page.locator("#others").click();
        await second.page.locator("#others").waitFor({ state: "detached" });
        await handstamp.ended(first.id, "session_revoked");
        await second.page.locator("#logout").click();
        await second.page.getByLabel("Password").waitFor();
        await handstamp.ended(second.id, "session_revoked");
        assert.equal(await cookie(second.context, session), undefined);
      });
    });
  }
}
