// What FLTR documents for its own session API, run against Handstamp with only the host changed: `fetch`, axios, React and
// Vue (the files of `snippets/`; the one for Next.js is in `next.test.mjs`). The page is on another host of the same site;
// `/v1/datasets` is a small upstream behind forward-auth.
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { test } from "node:test";
import { build } from "esbuild";
import { cookie, login } from "../support/chromium.mjs";
import { datasets } from "../support/datasets.mjs";
import { API, APP } from "../support/handstamp.mjs";
import { until } from "../support/wait.mjs";
import { origins, world } from "../support/world.mjs";

const PING_EVERY = "10:00";

/** A page that runs a snippet as its module; what the snippet exports is `window.snippet`. */
async function page(name) {
  const from = fileURLToPath(new URL(`../snippets/${name}`, import.meta.url));
  const made = await build({
    stdin: { contents: `import * as all from ${JSON.stringify(from)}; window.snippet = all;`, resolveDir: fileURLToPath(new URL(".", import.meta.url)) },
    bundle: true, write: false, format: "esm", jsx: "automatic", define: { "process.env.NODE_ENV": '"production"' },
  });
  const script = made.outputFiles[0].text.replaceAll("</script", "<\\/script");
  return `<!doctype html><title>${name}</title><body><script type="module">${script}</script>`;
}

const gate = { query: "" };
const here = world({
  api: "front",
  config: `[cookie]\nname = "fltr_session"\ndomain = "example.test"\ncsrf_domain = "example.test"\n${origins(APP)}`,
  pages: {
    "/fetch": await page("fetch.js"),
    "/axios": await page("axios.js"),
    "/react": await page("react.jsx"),
    "/vue": await page("vue.js"),
    "/v1/datasets": datasets(APP, gate),
  },
});

async function open(path, user, tab) {
  const page = tab ?? (await here.tab("/"));
  const id = user && (await login(page, user));
  await page.goto(APP + path);
  return { page, id };
}
const run = (page, name, ...args) => page.evaluate(async ([name, args]) => {
  await new Promise((ready) => (window.snippet ? ready() : addEventListener("load", ready)));
  const answer = await window.snippet[name](...args);
  return answer instanceof Response ? answer.status : answer;
}, [name, args]);

/** Lets ten minutes pass in the page, and sees the ping arrive as activity. */
async function pings(page, id) {
  const before = (await here.handstamp.session(id)).last_active_at;
  const arrived = page.waitForResponse((answer) => answer.url() === `${API}/v1/auth/session/ping`);
  await page.clock.fastForward(PING_EVERY);
  const answer = await arrived;
  assert.deepEqual([answer.status(), answer.request().method()], [204, "GET"]);
  assert.ok((await here.handstamp.session(id)).last_active_at > before);
}

test("fetch: session, refresh, ping every ten minutes, datasets, logout", async () => {
  const { page, id } = await open("/fetch", "ada");
  const { user, expires_at } = await run(page, "getSession");
  assert.equal(user.id, "ada");
  assert.ok(Date.parse(expires_at) > Date.now());
  assert.equal(await run(page, "refresh"), 200);
  assert.equal((await run(page, "createDataset", { name: "first" })).owner, "ada");
  assert.deepEqual((await run(page, "getDatasets")).items.map((one) => one.name), ["first"]);
  await page.clock.install();
  await run(page, "keepAlive");
  await pings(page, id);
  assert.equal(await run(page, "logout"), 204);
  await here.handstamp.ended(id, "session_revoked");
  assert.equal(await cookie(page.context(), "fltr_session"), undefined);
  assert.equal(await run(page, "getSession"), null);
});

test("fetch: where the gate asks for the CSRF token, a bad one makes the page load again, and then it passes", async (t) => {
  gate.query = "?csrf=1";
  t.after(() => (gate.query = ""));
  const { page } = await open("/fetch", "linus");
  assert.equal((await run(page, "createDataset", { name: "a" })).owner, "linus", "the snippet sends the header");
  await page.evaluate(() => (document.cookie = "XSRF-TOKEN=planted; domain=example.test; path=/; secure"));
  const reloaded = page.waitForEvent("load");
  await run(page, "createDataset", { name: "b" }).catch(() => {}); // the page is gone before it says how that ended
  await reloaded;
  assert.equal((await run(page, "createDataset", { name: "c" })).owner, "linus", "the refusal brought a good one");
  assert.deepEqual((await run(page, "getDatasets")).items.map((one) => one.name), ["a", "c"]);
});

test("fetch: nobody gets no datasets, and a stranger's are not shown", async () => {
  const { page } = await open("/fetch");
  assert.equal(await run(page, "getSession"), null);
  assert.equal((await run(page, "getDatasets")).code, "token_missing");
  await open("/fetch", "eve", page);
  assert.deepEqual((await run(page, "getDatasets")).items, []);
});

test("axios: session, refresh, datasets, logout, with the documented settings alone", async () => {
  const { page, id } = await open("/axios", "bob");
  assert.equal((await run(page, "getSession")).user.id, "bob");
  assert.equal(await run(page, "refresh"), 200);
  assert.equal((await run(page, "createDataset", { name: "second" })).owner, "bob");
  assert.deepEqual((await run(page, "getDatasets")).items.map((one) => one.name), ["second"]);
  assert.equal(await run(page, "logout"), 204);
  await here.handstamp.ended(id, "session_revoked");
});

for (const name of ["react", "vue"]) {
  test(`${name}: whose session it is, ping every ten minutes, logout`, async () => {
    const page = await here.tab("/");
    await page.clock.install();
    const { id } = await open(`/${name}`, "grace", page);
    const who = (what) => until(`it says ${what}`, async () => (await page.locator("#who").textContent()) === what);
    await who("grace");
    await pings(page, id);
    await page.getByRole("button").click();
    await who("nobody");
    await here.handstamp.ended(id, "session_revoked");
    await page.reload();
    await who("nobody");
  });
}
