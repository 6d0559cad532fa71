// A child process that is ready once it has printed a line with its address.
import { spawn } from "node:child_process";
import { once } from "node:events";

const READY_MS = 60_000;
const LEAVE_MS = 15_000;
const hide = (text) => text.replace(/hs[ktrpc]_\w+/g, "(secret)");

export class Server {
  #child;
  #said = "";

  /** Everything it printed since its last start, without secrets. */
  get said() {
    return hide(this.#said);
  }

  /** Starts `command` and waits for `address`, whose first group becomes `url`. */
  async start(command, args, options, address) {
    const child = spawn(command, args, { ...options, stdio: ["ignore", "pipe", "pipe"] });
    this.#child = child;
    this.#said = "";
    this.url = await new Promise((ready, failed) => {
      const fail = (why) => {
        clearTimeout(timer);
        child.kill("SIGKILL");
        failed(new Error(`${command} ${args[0]} ${why}; it said:\n${this.said}`));
      };
      const timer = setTimeout(fail, READY_MS, "did not print its address");
      const hear = (chunk) => {
        this.#said += chunk;
        const found = this.#said.match(address);
        if (found) ready(found[1]), clearTimeout(timer);
      };
      child.stdout.on("data", hear);
      child.stderr.on("data", hear);
      child.on("error", (error) => fail(error.message));
      child.on("exit", (code, signal) => fail(`ended with ${code ?? signal}`));
    });
    return this;
  }

  get pid() {
    return this.#child.pid;
  }

  /** As a machine that loses its power would end it. */
  async kill() {
    const gone = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await gone;
  }

  async stop() {
    if (!this.#child || this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = once(this.#child, "exit");
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), LEAVE_MS);
    this.#child.kill("SIGTERM");
    const [, signal] = await gone;
    clearTimeout(timer);
    if (signal === "SIGKILL") throw new Error(`${this.#child.spawnfile} did not leave within ${LEAVE_MS} ms of SIGTERM`);
  }
}
