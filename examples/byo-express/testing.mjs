// What both tests stand on: the real Handstamp with a folder of its own, and a child process that says when it is ready.
// HANDSTAMP_BIN names the binary; without it, the release build of this repository.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { env } from "node:process";
import { fileURLToPath } from "node:url";

export const here = fileURLToPath(new URL(".", import.meta.url));
export const binary = resolve(env.HANDSTAMP_BIN ?? join(here, "../../target/release/handstamp"));
export const DEADLINE_MS = 15_000;

/** A child process that is ready once it has printed a line with its address. */
export class Server {
  #child;
  said = "";
  constructor(command, args, options, address) {
    Object.assign(this, { command, args, options, address });
  }

  async start(...more) {
    const child = spawn(this.command, [...this.args, ...more], { ...this.options, stdio: ["ignore", "pipe", "pipe"] });
    this.#child = child;
    this.said = "";
    this.url = await new Promise((ready, failed) => {
      const fail = (why) => {
        child.kill("SIGKILL");
        failed(new Error(`${this.command} ${why}; it said:\n${this.said.replace(/hs[ktrp]_\w+/g, "(secret)")}`));
      };
      const timer = setTimeout(fail, DEADLINE_MS, "did not print its address");
      const hear = (chunk) => {
        this.said += chunk;
        const found = this.said.match(this.address);
        if (found) ready(found[1]), clearTimeout(timer);
      };
      child.stdout.on("data", hear);
      child.stderr.on("data", hear);
      child.on("error", (error) => fail(error.message));
      child.on("exit", (code, signal) => fail(`ended with ${code ?? signal}`));
    });
  }

  async stop(signal) {
    if (!this.#child || this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = once(this.#child, "exit");
    this.#child.kill(signal);
    await gone;
  }
}

/** Handstamp under a policy; `key` may everything. */
export class Handstamp extends Server {
  static async started(policy) {
    const folder = await mkdtemp(join(tmpdir(), "handstamp-byo-"));
    const config = join(folder, "handstamp.toml");
    await writeFile(config, policy);
    const handstamp = new Handstamp(
      binary,
      ["serve", "--config", config, "--data-dir", join(folder, "data")],
      { cwd: folder, env: { PATH: env.PATH, HANDSTAMP_FORWARD_AUTH__LISTEN: "off" } },
      /listening on (http:\/\/[\w.:[\]]+:\d+)/,
    );
    handstamp.folder = folder;
    await handstamp.start("--listen", "127.0.0.1:0");
    handstamp.key = (await readFile(join(folder, "data/access.key"), "utf8")).trim();
    return handstamp;
  }

  /** The same again: same address, same data. */
  restart = () => this.start("--listen", new URL(this.url).host);

  /** Its own API: what the server knows, whatever the client under test made of it. */
  async own(path, body) {
    const response = await fetch(new URL(path, this.url), {
      method: body ? "POST" : "GET",
      headers: { authorization: `Bearer ${this.key}`, "content-type": "application/json" },
      body: body && JSON.stringify(body),
    });
    const answer = await response.json();
    assert.ok(response.ok, `${path}: ${response.status} ${JSON.stringify(answer)}`);
    return answer;
  }

  async end() {
    await this.stop("SIGTERM");
    await rm(this.folder, { recursive: true, force: true });
  }
}
