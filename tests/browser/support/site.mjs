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

/** A port that was free a moment ago: the page's address must be known before Handstamp starts. */
export async function freePort() {
  const server = createServer();
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  const { port } = server.address();
  await new Promise((gone) => server.close(gone));
  return port;
}

/** `{ handstamp, site, url, api }`; `more` is added to the example's handstamp.toml. */
export async function start(name, more = "") {
  const port = await freePort();
  const url = `http://localhost:${port}`;
  const written = readFileSync(join(folder(name), "handstamp.toml"), "utf8");
  assert.ok(written.includes(`origins = ["${WRITTEN}"]`), `${name}/handstamp.toml allows its own page`);
  const handstamp = await Handstamp.start({ config: written.replaceAll(WRITTEN, url) + more, trusted: [] });
  const api = handstamp.url.replace("127.0.0.1", "localhost");
  const site = new Server();
  const settings = {
    PORT: port,
    HANDSTAMP_URL: handstamp.url,
    HANDSTAMP_KEY_FILE: join(handstamp.data, "access.key"),
    VITE_HANDSTAMP_URL: api,
    HANDSTAMP_PUBLIC_URL: api,
    NEXT_TELEMETRY_DISABLED: "1",
  };
  try {
    // What `npm start` does, without npm and its shell in between, which pass no signal on.
    const { scripts } = JSON.parse(readFileSync(join(folder(name), "package.json"), "utf8"));
    const path = [join(folder(name), "node_modules/.bin"), env.PATH].join(delimiter);
    const options = { cwd: folder(name), env: { PATH: path, HOME: env.HOME, ...settings } };
    const words = (line) => [line.split(" ")[0], line.split(" ").slice(1)];
    execFileSync(...words(scripts.prestart), { ...options, stdio: ["ignore", "pipe", "inherit"] });
    await site.start(...words(scripts.start), options, /(http:\/\/localhost:\d+)/);
    assert.equal(site.url, url);
  } catch (error) {
    await handstamp.close();
    throw error;
  }
  return { handstamp, site, url, api };
}
