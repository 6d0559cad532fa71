// Whether an answer is one that every published client can read: the schemas of the client's own types, and what schemas
// cannot say. The rules that are not in the types are those that the other languages' clients force: see README.md.
import Ajv from "ajv";
import { read } from "./json.mjs";

/** Seconds since 1970, not milliseconds: between 2020 and 2120. */
const SECONDS = [1_577_836_800, 4_733_510_400];
const TIMES = /^(timestamp|\w+At)$/;
const SECRET = /hs[ktrp]_\w{8,}/;

export class Judge {
  #answers = new Map();
  #errors = new Map();

  constructor({ methods, $defs }) {
    // `anyOf` of types without one keyword `type` is what TypeScript's unions become.
    const ajv = new Ajv({ allErrors: true, allowUnionTypes: true });
    const compile = (schema) => ajv.compile({ ...schema, $defs });
    for (const { command, answer, errors } of methods) {
      this.#answers.set(command, compile(answer));
      const each = Object.entries(errors).map(([type, schema]) => [type, compile(schema)]);
      this.#errors.set(command, new Map(each));
    }
  }

  /** Everything that is wrong with an exchange. */
  problems({ request, answer }) {
    const [version, status] = answer.start.split(" ");
    const found = [];
    const say = (what) => found.push(what);
    if (version !== "HTTP/1.1") say(`the answer is ${version}`);
    if (request.start !== "POST /run-command HTTP/1.1") say(`the request is ${request.start}`);
    const type = answer.headers["content-type"] ?? "nothing";
    if (!/^application\/json(;\s*charset=utf-8)?$/i.test(type)) say(`the content type is ${type}`);
    if (answer.headers["set-cookie"]) say("the answer sets a cookie");
    if (!answer.body) return [...found, "the body is empty"];
    let body;
    try {
      body = read(answer.body);
    } catch (error) {
      return [...found, `the body is no JSON: ${error.message}`];
    }
    for (const path of body.twice) say(`${path} comes twice`);
    // Metadata is the application's own, and goes back as it came.
    for (const path of body.broken.filter((path) => !/\/metadata(\/|$)/.test(path))) say(`${path} is no whole number`);
    const command = commandOf(request);
    if (status === "200") this.#success(command, body.value, say);
    else if (/^[45]\d\d$/.test(status)) this.#error(command, body.value, Number(status), say);
    else say(`the status is ${status}`);
    return found;
  }

  #success(command, value, say) {
    const valid = this.#answers.get(command);
    if (!valid) return say(`${command} is no command, and was answered with 200`);
    if (!valid(value)) for (const error of valid.errors) say(told(error));
    times(value, "", say);
  }

  #error(command, value, status, say) {
    // What is no command can only be told as what every command knows.
    const known = this.#errors.get(command) ?? new Map([["UnexpectedError", this.#errors.get("Ping").get("UnexpectedError")]]);
    const valid = known.get(value?.type);
    if (!valid) return say(`${JSON.stringify(value?.type)} is no error type of ${command}`);
    if (!valid(value)) for (const error of valid.errors) say(told(error));
    const { type, details } = value;
    if (SECRET.test(JSON.stringify(value))) say("the error holds a secret");
    if (typeof details === "string" && !/^[a-z][a-z_]+: \S/.test(details)) say(`${details} is not "code: sentence"`);
    if (status >= 500 && type !== "UnexpectedError") say(`a fault is told as ${type}`);
    times(details, "/details", say);
  }
}

/** The command of a request; of what is no request of the protocol, how it looks. */
export function commandOf({ body }) {
  try {
    return JSON.parse(body).command ?? "(no command)";
  } catch {
    return "(no JSON)";
  }
}

const told = ({ instancePath, message, params }) =>
  `${instancePath || "the body"} ${message}${params.additionalProperty ? `: ${params.additionalProperty}` : ""}`;

function times(value, path, say) {
  if (typeof value !== "object" || value === null) return;
  for (const [name, inner] of Object.entries(value)) {
    if (name === "metadata") continue;
    if (TIMES.test(name) && !(inner >= SECONDS[0] && inner <= SECONDS[1])) say(`${path}/${name} is no time in seconds: ${inner}`);
    times(inner, `${path}/${name}`, say);
  }
}
