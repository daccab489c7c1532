// Tells how Mermaid reads a flowchart. Each line of stdin is a JSON string, a text; each line of stdout the JSON answer:
// {vertices, edges, subgraphs}, or {error}. One process answers any number, as Mermaid takes seconds to load.

import { createInterface } from "node:readline";
import { JSDOM } from "jsdom";

// Mermaid looks for a browser while it loads.
const { window } = new JSDOM("<!doctype html><body></body>");
globalThis.window = window;
globalThis.document = window.document;
const { default: mermaid } = await import("mermaid");
mermaid.initialize({ startOnLoad: false });

// Mermaid keeps code points and entities in signs of its own until a label is drawn; the browser then decodes them.
function decoded(label) {
  const element = document.createElement("div");
  const html = (label ?? "").replaceAll("ﬂ°°", "&#").replaceAll("ﬂ°", "&").replaceAll("¶ß", ";");
  element.innerHTML = html.replaceAll(/<br\s*\/?>/g, "\n");
  return element.textContent;
}

async function read(text) {
  const { db } = await mermaid.mermaidAPI.getDiagramFromText(text);
  return {
    direction: db.getDirection(),
    vertices: [...db.getVertices().values()].map((v) => ({
      id: v.id, label: decoded(v.text), classes: v.classes, shape: v.type,
    })),
    edges: db.getEdges().map((e) => ({ start: e.start, end: e.end, label: decoded(e.text), stroke: e.stroke })),
    subgraphs: db.getSubGraphs().map((s) => ({
      id: s.id, label: decoded(s.title), members: s.nodes, classes: s.classes, direction: s.dir,
    })),
  };
}

for await (const line of createInterface({ input: process.stdin })) {
  const answer = await read(JSON.parse(line)).catch((error) => ({ error: String(error) }));
  process.stdout.write(JSON.stringify(answer) + "\n");
}
