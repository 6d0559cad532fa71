// The published clients of npm and PyPI, and a strict one of our own, through every method against the built binary.
//
//   node run.mjs [PATTERN]      only the cases whose names match, and then nothing is said of what was not driven
//
// HANDSTAMP_BIN names the binary, BYO_PYTHON a Python that has what is in requirements.txt.
import assert from "node:assert/strict";
import process, { argv, env, exit } from "node:process";
import { fileURLToPath } from "node:url";
import { checker } from "./cases/checker.mjs";
import { NodeClient, PythonClient, StrictClient } from "./support/clients.mjs";
import { coverage, methodsMissing, table } from "./support/coverage.mjs";
import { declarations } from "./support/declared.mjs";
import { commandOf, Judge } from "./support/judge.mjs";
import { World } from "./support/world.mjs";

const CHAPTERS = ["create", "validate", "fetch", "update", "invalidate", "limits", "devices", "proofs", "tokens", "keys", "wire", "faults"];
const TYPES = fileURLToPath(new URL("node_modules/@propelauth/byo-node/dist/index.d.ts", import.meta.url));
const CASE_MS = 60_000;
const hide = (text) => text.replace(/(hs[ktrpc]|dch)_\w+/g, "$1_(hidden)");

const [, , pattern = ""] = argv;
const declared = declarations(TYPES);
const judge = new Judge(declared);
const chapters = await Promise.all(CHAPTERS.map((name) => import(`./cases/${name}.mjs`)));
const cases = chapters.flatMap((chapter, place) => chapter.cases.map(([name, run]) => [`${CHAPTERS[place]}: ${name}`, run]));
const chosen = cases.filter(([name]) => name.includes(pattern));
assert.ok(chosen.length, `no case is named ${pattern}`);

const worlds = [];
const failures = [];
const fail = (who, what, why) => {
  failures.push(what);
  console.log(`FAILED  ${who}: ${what}\n        ${hide(why).replaceAll("\n", "\n        ")}`);
};

/** Runs the cases of one client, one after the other. */
async function drive(client) {
  const world = await World.start(client, declared);
  worlds.push(world);
  try {
    for (const what of await methodsMissing(world, declared)) fail(client.name, "methods", what);
    for (const [name, run] of chosen) {
      const late = AbortSignal.timeout(CASE_MS);
      try {
        await Promise.race([
          run(world),
          new Promise((_, bad) => late.addEventListener("abort", () => bad(new Error(`took more than ${CASE_MS} ms`)))),
        ]);
      } catch (error) {
        fail(client.name, name, (error.stack ?? String(error)).replace(/\n.*(node:internal|file:\S*\/support\/).*/g, ""));
      }
    }
    const wrong = new Map();
    for (const one of world.relay.exchanges)
      for (const problem of judge.problems(one)) {
        const what = `${commandOf(one.request)}: ${problem.replace(/\/\d+(?=[/ ])/g, "/*")}`;
        wrong.set(what, [...(wrong.get(what) ?? []), one]);
      }
    for (const [what, all] of wrong) {
      const [{ request, answer }] = all;
      const told = `${all.length} times, such as\n${request.body.slice(0, 400)}\n${answer.start}: ${answer.body.slice(0, 400)}`;
      fail(client.name, what, told);
    }
    const { rows, missing } = coverage(world, declared);
    if (!pattern) for (const what of missing) fail(client.name, "coverage", what);
    return { name: client.name, rows, exchanges: world.relay.exchanges.length, connections: world.relay.connections };
  } finally {
    await world.stop();
  }
}

const begun = Date.now();
const checks = checker(judge, declared, fail);
const clients = [new NodeClient(), new PythonClient(env.BYO_PYTHON ?? "python3"), new StrictClient(declared)];
// However this ends, the servers end with it.
process.on("exit", () => worlds.forEach(({ server }) => server.drop()));
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => exit(130));
const done = await Promise.allSettled(clients.map(drive));
const results = done.flatMap(({ value, reason }, place) => value ?? (fail(clients[place].name, "the run", reason.stack), []));
if (!results.length) exit(1);
const sum = (of) => results.reduce((all, one) => all + of(one), 0);
console.log(`\n${table(results)}\n`);
console.log(
  `${chosen.length} cases with each of ${results.length} clients, ${sum(({ exchanges }) => exchanges)} answers checked ` +
    `(${results.map(({ name, connections }) => `${name}: ${connections} connections`).join(", ")}), ` +
    `${checks} wrong answers found out, ${failures.length} failures, ${((Date.now() - begun) / 1000).toFixed(1)} s`,
);
exit(failures.length ? 1 : 0);
