// Small graph documents for the tests of the page's scripts, and what they load.

import { readFileSync } from "node:fs";
import vm from "node:vm";

export const PAGE = new URL("../../exporters/recorder_exporters/page/", import.meta.url);

/** The layout library, as the page has it. */
export function dagre() {
  const code = readFileSync(new URL("../vendor/dagre/dagre.min.js", PAGE), "utf8");
  return vm.runInThisContext(`${code}; dagre`);
}

/** A document from lines such as "a/b: conv = x y", where a/b are the scopes around, x and y what is used. */
export function graph(...lines) {
  const doc = { name: "Net", nodes: [], values: [], scopes: [], inputs: [], outputs: [], initializers: [], meta: {} };
  const values = new Map();
  const value = (name) => {
    if (!values.has(name)) {
      values.set(name, doc.values.length);
      doc.inputs.push(doc.values.length);
      doc.values.push({ name, shape: [1, 8], dtype: "float32", device: "cpu", role: "input" });
    }
    return values.get(name);
  };
  const scopes = new Map();
  const scope = (path) => {
    if (!path) return null;
    if (!scopes.has(path)) {
      const parent = scope(path.split("/").slice(0, -1).join("/"));
      scopes.set(path, doc.scopes.length);
      doc.scopes.push({ name: path, fqn: path, call: 0, op_type: "Block", parent });
    }
    return scopes.get(path);
  };
  for (const line of lines) {
    const [, path, name, used] = line.match(/^(?:([\w/]+): )?(\w+) = ?(.*)$/);
    const inputs = used.split(" ").filter(Boolean).map(value);
    doc.nodes.push({ name, kind: "function", op_type: name, target: name, scope: scope(path), inputs,
      outputs: [doc.values.length] });
    values.set(name, doc.values.length);
    doc.values.push({ name, shape: [1, 8], dtype: "float32", device: "cpu" });
  }
  doc.outputs.push(doc.values.length - 1);
  return doc;
}

/** What the exporter says besides the document. */
export function labels(doc) {
  return { hints: doc.nodes.map(() => ""), names: doc.nodes.map(() => ""), scopes: doc.scopes.map(() => "") };
}

/** Numbers that are the same each time: xorshift. */
export function random(seed) {
  let state = seed || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}
