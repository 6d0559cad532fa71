// What the installed client says of itself in its own type declarations: its methods, the command behind each, and as JSON
// Schemas what it sends, what it takes for an answer, and which errors it knows. Read at test time; nothing is written down
// here but how TypeScript spells a type.
import { readFileSync } from "node:fs";
import ts from "typescript";

/** The parts of the client that this is about, and the classes behind them. */
const PARTS = [
  ["", "PropelAuthClient", ["ping"]],
  ["session.", "SessionClient"],
  ["session.device.", "DeviceClient"],
];

/**
 * `methods`: for each method such as `session.create` its `command`, and the schemas `data`, `answer` and `errors` (one for
 * each type). `$defs` is what they refer to.
 */
export function declarations(file) {
  const source = ts.createSourceFile(file, readFileSync(file, "utf8"), ts.ScriptTarget.Latest, true);
  const [types, classes] = [new Map(), new Map()];
  for (const one of source.statements) {
    if (ts.isTypeAliasDeclaration(one)) types.set(one.name.text, one.type);
    if (ts.isClassDeclaration(one)) classes.set(one.name.text, one);
  }
  const $defs = {};
  const refer = (name) => {
    if (!types.has(name)) throw new Error(`${file} does not declare ${name}`);
    if (!($name(name) in $defs)) {
      $defs[$name(name)] = true; // a type may hold itself
      $defs[$name(name)] = schema(types.get(name), { refer, whole: name !== "JsonValue" });
    }
    return { $ref: `#/$defs/${$name(name)}` };
  };
  const commands = commandsByData(types.get("Command"));
  const methods = PARTS.flatMap(([prefix, name, only]) =>
    classes
      .get(name)
      .members.filter((one) => ts.isMethodDeclaration(one) && !isPrivate(one) && (!only || only.includes(one.name.text)))
      .map((method) => {
        const data = method.parameters[0].type.typeName.text;
        const result = method.type.typeArguments[0]; // Promise<Result<Answer, Error>>
        const [answer, error] = result.typeArguments.map((node) => node.typeName.text);
        return {
          path: prefix + method.name.text,
          command: commands.get(data),
          data: refer(data),
          answer: refer(answer),
          errors: byType(types.get(error), { refer, whole: true }),
        };
      }),
  );
  for (const { path, command } of methods) if (!command) throw new Error(`no command is declared for ${path}`);
  return { methods, $defs };
}

const $name = (name) => name.replaceAll(/\W/g, "_");
const isPrivate = (node) => node.modifiers?.some((one) => one.kind === ts.SyntaxKind.PrivateKeyword) ?? false;
const members = (node) => (ts.isUnionTypeNode(node) ? node.types : [node]);
const property = (node, name) => node.members.find((one) => one.name.text === name)?.type;

/** `CreateSessionCommand` -> `CreateSession`, as the union of all commands pairs them. */
const commandsByData = (union) =>
  new Map(
    members(union).map((one) => [property(one, "data").typeName.text, property(one, "command").literal.text]),
  );

/** Of a union of errors, the schema of each by its `type`. */
function byType(node, how) {
  return Object.fromEntries(
    members(node).map((one) => [property(one, "type").literal.text, schema(one, how)]),
  );
}

/** `whole`: numbers are whole, which TypeScript cannot say; all are but those inside of free JSON. */
function schema(node, how) {
  const of = (inner) => schema(inner, how);
  switch (node.kind) {
    case ts.SyntaxKind.StringKeyword:
      return { type: "string" };
    case ts.SyntaxKind.BooleanKeyword:
      return { type: "boolean" };
    case ts.SyntaxKind.NumberKeyword:
      return { type: how.whole ? "integer" : "number" };
    case ts.SyntaxKind.LiteralType:
      return { const: node.literal.kind === ts.SyntaxKind.NullKeyword ? null : node.literal.text };
    case ts.SyntaxKind.ParenthesizedType:
      return of(node.type);
    case ts.SyntaxKind.UnionType:
      return { anyOf: node.types.map(of) };
    case ts.SyntaxKind.MappedType: // {[key in string]?: T}
      return { type: "object", additionalProperties: of(node.type) };
    case ts.SyntaxKind.TypeLiteral:
      return object(node.members, of);
    case ts.SyntaxKind.TypeReference:
      return named(node, how, of);
    default:
      throw new Error(`no schema is known for ${node.getText()}`);
  }
}

function object(all, of) {
  const [properties, required] = [{}, []];
  for (const one of all) {
    properties[one.name.text] = of(one.type);
    if (!one.questionToken) required.push(one.name.text);
  }
  return { type: "object", properties, required, additionalProperties: false };
}

function named(node, how, of) {
  const name = node.typeName.text;
  if (name === "Array") return { type: "array", items: of(node.typeArguments[0]) };
  if (name !== "Record") return how.refer(name);
  const nothing = node.typeArguments[1].kind === ts.SyntaxKind.NeverKeyword;
  if (!nothing) throw new Error(`no schema is known for ${node.getText()}`);
  return { type: "object", properties: {}, required: [], additionalProperties: false };
}

/** The schema behind a reference. */
export const resolved = ($defs, one) => (one.$ref ? resolved($defs, $defs[one.$ref.slice("#/$defs/".length)]) : one);

/** Every optional member of a call's data, at each level: `[["tags"], ["deviceRegistration", "requestUrl"], ...]`. */
export function optionals($defs, data, path = []) {
  const { properties = {}, required = [] } = resolved($defs, data);
  return Object.entries(properties).flatMap(([name, inner]) => [
    ...(required.includes(name) ? [] : [[...path, name]]),
    ...(isFree(inner) ? [] : optionals($defs, inner, [...path, name])),
  ]);
}

/** The data with `null` for every optional member that it leaves out, at each level, as some clients send it. */
export function withNulls($defs, data, value) {
  const { properties, required } = resolved($defs, data);
  if (!properties) return value;
  const all = { ...value };
  for (const [name, inner] of Object.entries(properties)) {
    if (name in all && all[name] !== null && !isFree(inner)) all[name] = withNulls($defs, inner, all[name]);
    if (!(name in all) && !required.includes(name)) all[name] = null;
  }
  return all;
}

/** JSON of the application's own. */
export const isFree = (one) => one.$ref === "#/$defs/JsonValue";
