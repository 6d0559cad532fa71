// What was driven, counted from what went over the wires: calls of each method, error types of each command, and each
// optional argument given, left out and null. What is missing is a failure.
import { optionals } from "./declared.mjs";
import { commandOf } from "./judge.mjs";

/** Error types that cannot be provoked, by command, and why. */
export const UNREACHABLE = {};

/** Arguments without which nothing can succeed, although they are optional: for them refusals count too. */
const NEEDED = ["ValidateSession.sessionToken", "ValidateAndRefreshSession.sessionToken"];

/** Of one world: for each method `{path, calls, errors, statuses}`, and as `missing` what should have been there. */
export function coverage(world, { methods, $defs }) {
  const missing = [];
  const rows = methods.map(({ path, command, data, errors }) => {
    const here = world.relay.exchanges.filter(({ request }) => commandOf(request) === command);
    const types = new Map();
    for (const { answer } of here.filter(({ answer }) => !answer.start.includes(" 200 "))) {
      const { type } = JSON.parse(answer.body);
      types.set(type, (types.get(type) ?? 0) + 1);
    }
    const say = (what) => missing.push(`${world.client.name}: ${path} ${what}`);
    if (!world.calls.get(path)) say("was never called");
    if (!here.some(({ answer }) => answer.start.includes(" 200 "))) say("never succeeded");
    for (const type of Object.keys(errors)) if (!types.has(type) && !UNREACHABLE[command]?.[type]) say(`was never answered with ${type}`);
    // Only answers of 200 count: an argument that comes with a refusal shows nothing of what it does.
    const sent = (all) => all.map(({ request }) => JSON.parse(request.body).data ?? {});
    const good = sent(here.filter(({ answer }) => answer.start.includes(" 200 ")));
    for (const place of optionals($defs, data)) {
      const from = NEEDED.includes(`${command}.${place}`) ? sent(here) : good;
      const ways = new Set(from.map((one) => way(one, place)));
      const wanted = ["given", ...(world.client.name === "strict" ? [] : ["left out"]), ...(world.client.sendsNull ? ["null"] : [])];
      for (const one of wanted) if (!ways.has(one)) say(`was never answered well with ${place.join(".")} ${one}`);
    }
    return { path, calls: world.calls.get(path) ?? 0, answers: here.length, types };
  });
  return { rows, missing };
}

function way(sent, place) {
  const inner = place.slice(0, -1).reduce((value, name) => value?.[name], sent);
  if (typeof inner !== "object" || inner === null) return "not asked";
  const value = inner[place.at(-1)];
  return value === undefined ? "left out" : value === null ? "null" : "given";
}

/** What the client has and is not in its declarations, or the other way round. */
export async function methodsMissing(world, { methods }) {
  const has = new Set(await world.client.methods());
  const declared = new Set(methods.map(({ path }) => path));
  return [
    ...[...declared].filter((path) => !has.has(path)).map((path) => `${world.client.name} has no ${path}`),
    ...[...has].filter((path) => !declared.has(path)).map((path) => `${world.client.name} has ${path}, which npm's client does not declare`),
  ];
}

/** A table for people. */
export function table(worlds) {
  const [first] = worlds;
  const lines = first.rows.map(({ path }, place) => {
    const rows = worlds.map(({ rows }) => rows[place]);
    const types = new Map();
    for (const row of rows) for (const [type, count] of row.types) types.set(type, (types.get(type) ?? 0) + count);
    const errors = [...types].map(([type, count]) => `${type} ${count}`).join(", ");
    return [path, ...rows.map(({ calls }) => `${calls}`), errors];
  });
  const all = [["method", ...worlds.map(({ name }) => name), "errors seen"], ...lines];
  const widths = all[0].map((_, place) => Math.max(...all.map((line) => line[place].length)));
  return all.map((line) => line.map((cell, place) => (place === line.length - 1 ? cell : cell.padEnd(widths[place]))).join("  ")).join("\n");
}
