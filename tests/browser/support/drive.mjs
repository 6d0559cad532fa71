// An example with its page on one host and Handstamp's browser API on another host of the same site, driven as its users
// would. Tokens rotate every second, so that every way around the cookie is taken often.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { call, cookie, launch } from "./chromium.mjs";
import { send } from "./handstamp.mjs";
import { start } from "./site.mjs";
import { until } from "./wait.mjs";

const SESSION = "__Host-handstamp";
const ALICE = { Name: "alice", Password: "down the rabbit hole" };
const BOB = { Name: "bob", Password: "can we fix it" };
const HOURS_AGO = () => new Date(Date.now() - 2 * 3600_000).toISOString();
const FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

/**
 * The whole story of the example of that name. `onServer`: its pages come rendered from its server, and know of changes
 * when they are loaded again.
 */
export function drive(name, { onServer = false } = {}) {
  describe(name, () => {
    let here, browser;
    before(async () => {
      here = await start(name, '\n[policy.default]\nrotate_every = "1s"\n');
      // The back-forward cache is part of the story; playwright switches it off.
      browser = await launch({}, { ignoreDefaultArgs: ["--disable-back-forward-cache"] });
    });
    after(async () => {
      await browser?.close();
      await here?.site.stop();
      await here?.handstamp.close();
    });

    const form = (page) => page.getByLabel("Password").waitFor();
    const inside = (page) => page.locator("#logout").waitFor();
    async function fill(page, { Name, Password }) {
      await page.getByLabel("Name").fill(Name);
      await page.getByLabel("Password").fill(Password);
      await page.getByRole("button", { name: "Log in" }).click();
    }
    /** A device that is logged in: its tab, and the id of the session. */
    async function device(user, options) {
      const context = await browser.newContext(options);
      const page = await context.newPage();
      await page.goto(here.url);
      await form(page);
      await fill(page, user);
      await inside(page);
      return { context, page, id: await own(page) };
    }
    /** The id of the session that the list calls this one. */
    async function own(page) {
      const line = page.locator("#devices li", { hasText: "this one" });
      await line.waitFor();
      return line.getAttribute("data-id");
    }
    const listed = (page) => page.locator("#devices li").evaluateAll((lines) => lines.map((line) => line.dataset.id).toSorted());
    const lists = (page, ids) =>
      until(`the list is ${ids}`, async () => `${await listed(page)}` === `${ids.toSorted()}`);
    /** Comes back to the tab, as one does to see whether something changed. */
    const again = (page) => (onServer ? page.reload() : page.evaluate(() => dispatchEvent(new Event("focus"))));

    test("a wrong password is told, and leaves no cookie", async () => {
      const context = await browser.newContext();
      const page = await context.newPage();
      await page.goto(here.url);
      await fill(page, { Name: "alice", Password: "wrong" });
      await page.getByText("Wrong name or password.").waitFor();
      assert.deepEqual(await context.cookies(), []);
      await page.goto(here.url);
      await form(page);
    });

    test("login, name, notes; the session is hers and remembers her browser", async () => {
      const { page, context, id } = await device(ALICE);
      assert.equal(await page.locator("#user").textContent(), "Alice Liddell");
      await until("her notes", async () => (await page.locator("#notes li").allTextContents()).join() === "Feed the cat,Answer the Queen");
      assert.ok((await cookie(context, SESSION)).httpOnly);
      assert.ok(!(await page.evaluate(() => document.cookie)).includes(SESSION));
      const session = await here.handstamp.session(id);
      assert.equal(session.user_id, "alice");
      const agent = await page.evaluate(() => navigator.userAgent);
      assert.deepEqual([session.client.ip, session.client.user_agent], ["127.0.0.1", agent]);
      await page.reload();
      await inside(page);
      assert.equal(await own(page), id, "a reload is no login");
    });

    test("devices: the others are seen, one is ended, then all but this one", async () => {
      await here.handstamp.api("POST", "/v1/sessions/revoke", { user_id: "alice" });
      const laptop = await device(ALICE);
      const phone = await device(ALICE, { userAgent: FIREFOX });
      const [tablet, stranger] = [await device(ALICE), await device(BOB)];
      await laptop.page.reload();
      await lists(laptop.page, [laptop.id, phone.id, tablet.id]);
      const line = laptop.page.locator(`#devices li[data-id="${phone.id}"]`);
      assert.match(await line.textContent(), /Firefox.*Linux/);

      await line.getByRole("button").click();
      await lists(laptop.page, [laptop.id, tablet.id]);
      await here.handstamp.ended(phone.id, "session_revoked");
      await again(phone.page);
      await form(phone.page);

      await laptop.page.locator("#others").click();
      await lists(laptop.page, [laptop.id]);
      await here.handstamp.ended(tablet.id, "session_revoked");
      for (const { id } of [laptop, stranger]) await here.handstamp.live(id);
      await again(tablet.page);
      await form(tablet.page);
    });

    test("a page whose CSRF token went bad gets over it", async () => {
      const { page, id } = await device(BOB);
      const other = await device(BOB);
      await page.reload();
      const button = page.locator(`#devices li[data-id="${other.id}"]`).getByRole("button");
      await button.waitFor();
      const statuses = [];
      page.on("response", (answer) => answer.request().method() === "DELETE" && statuses.push(answer.status()));
      await page.route("**/v1/auth/sessions/*", (route, request) => {
        if (request.method() !== "DELETE") return route.continue();
        const bad = statuses.length === 0 && { "x-xsrf-token": "c1.bad" };
        return route.continue({ headers: { ...request.headers(), ...bad } });
      });
      await button.click();
      if (onServer) {
        await until("the refusal", () => statuses.length === 1);
        await button.waitFor(); // the page came again, with a good one
        await until("a click that counts", async () => (await button.click({ timeout: 1000 }).catch(() => {}), statuses.length > 1));
      }
      await until("two answers", () => statuses.length > 1);
      assert.deepEqual(statuses, [403, 200]);
      await here.handstamp.ended(other.id, "session_revoked");
      await here.handstamp.live(id);
    });

    test("a login of two hours ago does not end other devices, and the page says what to do", async () => {
      const context = await browser.newContext();
      const page = await context.newPage();
      await page.goto(here.url);
      const userAgent = await page.evaluate(() => navigator.userAgent);
      const made = await here.handstamp.api("POST", "/v1/sessions", {
        user_id: "bob", data: { name: "Bob" }, ip: "127.0.0.1", user_agent: userAgent,
        auth: { methods: ["pwd"], level: 1, at: HOURS_AGO() },
      });
      const value = made.token;
      await context.addCookies([{ name: SESSION, value, domain: "localhost", path: "/", secure: true, httpOnly: true, sameSite: "Lax" }]);
      await page.goto(here.url);
      await page.locator("#others").click();
      await page.getByText("log out, and in again").waitFor();
      await here.handstamp.live(made.session.id);
      assert.ok((await listed(page)).length > 1);
    });

    test("logout in one tab is seen in the other, and ends the session, not only the cookie", async () => {
      const { page, context, id } = await device(ALICE);
      const other = await context.newPage();
      await other.goto(here.url);
      await inside(other);
      await page.locator("#logout").click();
      await form(page);
      await here.handstamp.ended(id, "session_revoked");
      assert.deepEqual(await context.cookies(), []);
      if (onServer) await again(other); // the others hear of it at once
      await form(other);
    });

    test("the back button shows nothing of the session after a logout", async () => {
      const { page, context, id } = await device(ALICE);
      await page.goto(`${here.handstamp.url}/livez`);
      const other = await context.newPage();
      await other.goto(here.url);
      await inside(other);
      await other.locator("#logout").click();
      await form(other);
      await here.handstamp.ended(id, "session_revoked");
      await page.goBack();
      await form(page);
      assert.equal(await page.getByText("Alice").count(), 0);
    });

    test("an open page keeps its session alive every ten minutes", async () => {
      const { page, context, id } = await device(ALICE);
      await page.close();
      const open = await context.newPage();
      await open.clock.install();
      await open.goto(here.url);
      await inside(open);
      assert.equal(await own(open), id);
      const before = (await here.handstamp.session(id)).last_active_at;
      const arrived = open.waitForResponse((answer) => answer.url().endsWith("/session/ping"));
      await open.clock.fastForward("10:01");
      assert.equal((await arrived).status(), 204);
      assert.ok((await here.handstamp.session(id)).last_active_at > before);
    });

    test("rotation on every way around: nobody is logged out, nobody is called a thief", async () => {
      const { page, context, id } = await device(BOB);
      const [first, begun] = [(await cookie(context, SESSION)).value, (await here.handstamp.session(id)).generation];
      await until("three rotations", async () => {
        await page.reload();
        assert.equal(await own(page), id);
        return (await here.handstamp.session(id)).generation >= begun + 3;
      });
      assert.notEqual((await cookie(context, SESSION)).value, first);
      const codes = (await here.handstamp.events(id)).map(({ code }) => code);
      assert.ok(!codes.includes("token_reused") && !codes.includes("user_agent_changed"), codes.join());
      await here.handstamp.live(id);
    });

    if (onServer) {
      test("the route handler forwards the cookie: data for who is logged in, 401 for others", async () => {
        const { page } = await device(BOB);
        const mine = await call(page, "GET", "/api/notes");
        assert.deepEqual([mine.status, mine.body], [200, ["Order a crane"]]);
        const nobody = await send(`${here.url}/api/notes`);
        assert.deepEqual([nobody.status, nobody.body], [401, { error: "Not logged in." }]);
        const forged = await send(`${here.url}/api/notes`, { headers: { cookie: `${SESSION}=hst_no` } });
        assert.equal(forged.status, 401);
      });
    }

    test("a login form of another origin logs nobody in", async () => {
      const body = onServer ? "username=bob&password=can+we+fix+it" : JSON.stringify({ username: "bob", password: "can we fix it" });
      const answer = await send(`${here.url}/api/login`, {
        method: "POST", body,
        headers: { origin: "https://other.test", "content-type": onServer ? "application/x-www-form-urlencoded" : "text/plain" },
      });
      assert.ok([403, 415].includes(answer.status), `${answer.status}`);
      assert.equal(answer.headers["set-cookie"]?.length ?? 0, 0);
    });

    if (onServer) {
      test("while Handstamp is away nobody is logged out", async () => {
        const { page, context } = await device(BOB);
        const { value } = await cookie(context, SESSION);
        await here.handstamp.stop();
        const answer = await page.goto(here.url);
        assert.equal(answer.status(), 500);
        assert.equal(new URL(page.url()).pathname, "/", "not sent to the login page");
        assert.equal((await cookie(context, SESSION)).value, value);
      });
    } else {
      test("without an answer nobody is logged out", async () => {
        const { page, id } = await device(BOB);
        await page.route("**/v1/auth/**", (route) => route.abort());
        await again(page);
        await page.getByText("You are not logged out.").waitFor();
        await page.unroute("**/v1/auth/**");
        await page.getByRole("button", { name: "Try again" }).click();
        assert.equal(await own(page), id);
      });
    }
  });
}
