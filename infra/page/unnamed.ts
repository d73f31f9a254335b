// Leaves out of the chart library what nothing on the page names: methods of its public face that we do not call, and what only
// they called. A class keeps all its methods in a bundle, because a bundler cannot know which of them are asked for by a name
// that is made at run time; this library makes none: its own names are replaced by short ones when it is built. Also the method
// that would draw its logo goes, with the text it holds: the page never asks for it (tracker.md 11). Of errors the words go,
// which tell a programmer what no reader ever sees; where they were thrown says the same.
import type { Plugin } from "vite";
import { parseAst } from "rolldown/parseAst";

interface Node {
  type: string;
  start: number;
  end: number;
  [name: string]: unknown;
}

interface Span {
  name: string;
  start: number;
  end: number;
}

const ROUNDS_MAX = 20;
const LOGO = "tv-attr-logo";

function isNode(value: unknown): value is Node {
  return typeof value === "object" && value !== null && typeof (value as Node).type === "string";
}

function* nodesOf(node: Node): Generator<Node> {
  yield node;
  for (const value of Object.values(node)) {
    for (const one of Array.isArray(value) ? value : [value]) if (isNode(one)) yield* nodesOf(one);
  }
}

// The plain name in a node's `key` or `property`; null for a computed one.
function nameIn(node: Node, part: "key" | "property"): string | null {
  const name = node[part];
  return node["computed"] !== true && isNode(name) && name.type === "Identifier" ? (name["name"] as string) : null;
}

function unnamed(code: string): Span[] {
  const named = new Set<string>();
  const methods: Span[] = [];
  for (const node of nodesOf(parseAst(code) as unknown as Node)) {
    if (node.type === "Literal" && typeof node["value"] === "string") named.add(node["value"]);
    const name = node.type === "MemberExpression" ? nameIn(node, "property") : node.type === "Property" ? nameIn(node, "key") : null;
    if (name !== null) named.add(name);
    const method = node.type === "MethodDefinition" && node["kind"] !== "constructor" ? nameIn(node, "key") : null;
    if (method !== null) methods.push({ name: method, start: node.start, end: node.end });
  }
  return methods.filter(({ name }) => !named.has(name));
}

// The code with an empty body for the one method that holds a text.
function emptied(code: string, text: string): string {
  const methods = [...nodesOf(parseAst(code) as unknown as Node)].filter(({ type, start, end }) => type === "MethodDefinition" && code.slice(start, end).includes(text));
  const body = [...(methods[0] === undefined ? [] : nodesOf(methods[0]))].find(({ type }) => type === "BlockStatement");
  if (methods.length !== 1 || body === undefined) throw new Error(`not one method holds ${text}`);
  return `${code.slice(0, body.start)}{}${code.slice(body.end)}`;
}

function wordless(code: string): string {
  const errors = [...nodesOf(parseAst(code) as unknown as Node)].filter(({ type, callee }) => (type === "NewExpression" || type === "CallExpression") && isNode(callee) && callee["name"] === "Error");
  const words = errors.map(({ arguments: given }) => given as Node[]).filter(({ length }) => length > 0);
  return words.reverse().reduce((left, given) => left.slice(0, given[0]?.start) + left.slice(given.at(-1)?.end), code);
}

function withoutUnnamed(code: string): string {
  let left = code;
  for (let round = 0; round < ROUNDS_MAX; round += 1) {
    const spans = unnamed(left);
    if (spans.length === 0) return left;
    for (const { start, end } of spans.reverse()) left = left.slice(0, start) + left.slice(end);
  }
  throw new Error(`after ${ROUNDS_MAX} rounds there is still something that nothing names`);
}

// `chunk`: the name of the piece it is done to, in which library and callers stand together.
export function leavesOutUnnamed(chunk: string): Plugin {
  return { name: "unnamed", renderChunk: (code, { name }) => (name === chunk ? { code: wordless(withoutUnnamed(emptied(code, LOGO))), map: null } : null) };
}
