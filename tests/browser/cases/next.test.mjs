// The documented route handler of Next.js (`snippets/next-route.js`), in an application that has nothing else, with only the
// host changed: its server passes the session cookie on, and nothing that says who it speaks for.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { env } from "node:process";
import { fileURLToPath } from "node:url";
import { call, cookie, login } from "../support/chromium.mjs";
import { datasets } from "../support/datasets.mjs";
import { API, send } from "../support/handstamp.mjs";
import { Server } from "../support/process.mjs";
import { freePort } from "../support/site.mjs";
import { world } from "../support/world.mjs";

const MODULES = fileURLToPath(new URL("../../../examples/nextjs/node_modules", import.meta.url));
const SNIPPET = new URL("../snippets/next-route.js", import.meta.url);
const NEXT = join(MODULES, ".bin/next");
const LAYOUT = "export default ({ children }) => <html><body>{children}</body></html>;\n";

describe("Next.js: the documented route handler", () => {
  const here = world({
    local: true,
    config: '[cookie]\nname = "fltr_session"\n',
    pages: { "/v1/datasets": datasets("http://localhost") },
  });
  const next = new Server();
  let port;

  before(async () => {
    const root = join(here.handstamp.folder, "next");
    const files = {
      "package.json": "{}\n",
      "next.config.mjs": 'export default { turbopack: { root: "/" } };\n', // the modules are not in this folder
      "app/layout.jsx": LAYOUT,
      "app/api/datasets/route.js": readFileSync(SNIPPET, "utf8").replace(API, here.app),
    };
    mkdirSync(join(root, "app/api/datasets"), { recursive: true });
    for (const [name, text] of Object.entries(files)) writeFileSync(join(root, name), text);
    symlinkSync(MODULES, join(root, "node_modules"));
    const options = { cwd: root, env: { PATH: env.PATH, HOME: env.HOME, NEXT_TELEMETRY_DISABLED: "1" } };
    execFileSync(NEXT, ["build"], { ...options, stdio: ["ignore", "pipe", "inherit"] });
    port = await freePort();
    await next.start(NEXT, ["start", "--hostname", "localhost", "--port", `${port}`], options, /(http:\/\/localhost:\d+)/);
  });
  after(() => next.stop());

  const route = () => `http://localhost:${port}/api/datasets`;

  test("the handler answers with the data of whoever is logged in, and of nobody else", async () => {
    const [ada, eve] = [await here.tab("/"), await here.tab("/")];
    const id = await login(ada, "ada");
    await login(eve, "eve");
    const body = JSON.stringify({ name: "first" });
    const made = await call(ada, "POST", "/v1/datasets", { "content-type": "application/json" }, { body });
    assert.equal(made.status, 201, made.text);
    for (const [page, names] of [[ada, ["first"]], [eve, []]]) {
      await page.goto(route());
      const { items } = JSON.parse(await page.evaluate(() => document.body.innerText));
      assert.deepEqual(items.map((one) => one.name), names);
    }
    // Its agent is no browser's, and its address is the server's: neither ends the session.
    await here.handstamp.live(id);
  });

  test("without a session, and with one that has ended, the answer is 401", async () => {
    const nobody = await send(route());
    assert.deepEqual([nobody.status, nobody.body], [401, { error: "Not logged in" }]);
    const page = await here.tab("/");
    const id = await login(page, "bob");
    const { value } = await cookie(page.context(), "fltr_session");
    const ask = () => send(route(), { headers: { cookie: `fltr_session=${value}` } });
    assert.equal((await ask()).status, 200);
    await here.handstamp.api("DELETE", `/v1/sessions/${id}`);
    const ended = await ask();
    assert.deepEqual([ended.status, ended.body.code], [401, "session_revoked"]);
  });
});
