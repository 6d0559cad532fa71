// An example of `examples/`, started as its README says, beside a Handstamp with the example's own configuration. Only
// the ports differ: free ones, so that nothing else on the machine is in the way.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { delimiter, join } from "node:path";
import { env } from "node:process";
import { fileURLToPath } from "node:url";
import { Handstamp } from "./handstamp.mjs";
import { Server } from "./process.mjs";

const WRITTEN = "http://localhost:3000";
const folder = (name) => fileURLToPath(new URL(`../../../examples/${name}`, import.meta.url));

/**
 * A port that is free now, and not of those that the system gives to whoever asks for any: the page's address must be known
 * before Handstamp starts, and building the page takes so long that such a port would be somebody's by then.
 */
export async function freePort() {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 10_000);
    const server = createServer();
    const free = await new Promise((tried) => {
      server.once("error", () => tried(false));
      server.listen(port, "127.0.0.1", () => tried(true));
    });
    if (!free) continue;
    await new Promise((gone) => server.close(gone));
    return port;
  }
}

/** `{ handstamp, site, url, api }`; `more` is added to the example's handstamp.toml. */
export async function start(name, more = "") {
  const port = await freePort();
  const url = `http://localhost:${port}`;
  const written = readFileSync(join(folder(name), "handstamp.toml"), "utf8");
  assert.ok(written.includes(`origins = ["${WRITTEN}"]`), `${name}/handstamp.toml allows its own page`);
  const handstamp = await Handstamp.start({ config: written.replaceAll(WRITTEN, url) + more, trusted: [] });
  const api = handstamp.url.replace("127.0.0.1", "localhost");
  const settings = { PORT: port, HANDSTAMP_URL: handstamp.url, VITE_HANDSTAMP_URL: api, HANDSTAMP_PUBLIC_URL: api };
  return { handstamp, site: await run(name, handstamp, settings), url, api };
}

/** Builds and starts the example alone; closes Handstamp if that fails. */
export async function run(name, handstamp, settings) {
  const site = new Server();
  // What `npm start` does, without npm and its shell in between, which pass no signal on.
  const { scripts } = JSON.parse(readFileSync(join(folder(name), "package.json"), "utf8"));
  const more = {
    PATH: [join(folder(name), "node_modules/.bin"), env.PATH].join(delimiter),
    HOME: env.HOME,
    HANDSTAMP_KEY_FILE: join(handstamp.data, "access.key"),
    NEXT_TELEMETRY_DISABLED: "1",
  };
  const options = { cwd: folder(name), env: { ...more, ...settings } };
  const words = (line) => [line.split(" ")[0], line.split(" ").slice(1)];
  try {
    execFileSync(...words(scripts.prestart), { ...options, stdio: ["ignore", "pipe", "inherit"] });
    await site.start(...words(scripts.start), options, /(http:\/\/localhost:\d+)/);
  } catch (error) {
    await handstamp.close();
    throw error;
  }
  assert.equal(site.url, `http://localhost:${settings.PORT}`);
  return site;
}

/** What the example's README says about hosts of one's own, with the hosts of the tests. */
export function ownHosts(name) {
  const readme = readFileSync(join(folder(name), "README.md"), "utf8").split("## On your own hosts")[1];
  const lines = readme.match(/(^    .*\n|^\n)+/gm).find((block) => block.includes("[cookie]"));
  return lines.replaceAll("example.org", "example.test");
}
