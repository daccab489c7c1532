// Everything that is known of the place that was picked: a scope, a node, a tensor, or what flows along a line.

import { byId, html } from "./dom.mjs";
import { alikeOf, runAround } from "./folding.mjs";
import { saidOf } from "./metrics.mjs";
import { around, crossing } from "./model.mjs";
import { jsonText, legible, measuredOf, shapeOf, visible } from "./text.mjs";

const SHOWN = 60;

export class Panel {
  /** `actions`: `reveal(item)`, `path(item, way)`, `toggle(item)`, `repeat(item)`, `close()`. */
  constructor(model, metrics, actions) {
    Object.assign(this, { model, metrics, actions, root: byId("panel") });
  }

  hide() {
    this.root.hidden = true;
    this.root.replaceChildren();
  }

  show(...content) {
    this.root.hidden = false;
    this.root.replaceChildren(
      html("button", { class: "close", title: "Close (Esc)", "aria-label": "Close", onclick: this.actions.close }, "✕"),
      ...content.flat().filter(Boolean));
    this.root.scrollTop = 0;
  }

  showItem(item, isOpen) {
    if (item.kind === "value") return this.showTensor(item);
    const { source } = item;
    const isMember = ({ v }) => ["parameter", "buffer"].includes(this.model.values[v].role);
    const given = named(source.inputs, source.input_names);
    const params = item.kind === "scope" ? [] : given.filter(isMember);
    const inputs = given.filter((one) => !params.includes(one));
    const outputs = named(source.outputs, source.output_names);
    const flows = item.kind === "scope" ? crossing(item) : { into: [], outOf: [] };
    const from = (v) => [this.model.producer.get(v)];
    const to = (v) => this.users(v, item);
    return this.show(
      this.heading(item),
      source.error ? html("p", { class: "error" }, visible(source.error)) : null,
      this.ways(item, isOpen),
      rows([
        ["name", source.name],
        ["fqn", source.fqn],
        ["call", source.call],
        ["target", source.target],
        ["kind", item.kind === "scope" ? "module call that holds nodes" : source.kind],
        ["nodes inside", item.kind === "scope" ? item.inside : undefined],
        ["stands for", alikeOf(item).length > 1 ? alikeOf(item).map((one) => one.name).join(", ") : undefined],
      ]),
      section("Measures", rows(this.metrics.map((metric) => [metric.label, saidOf(metric, item, true)]))),
      section("Hyper-parameters and arguments", rows(Object.entries(source.attributes ?? {}))),
      section("Given without a tensor", rows(Object.entries(argumentsOf(source)))),
      this.tensors("Inputs", inputs, from, "from"),
      this.tensors(inputs.length ? "Used as well" : "Inputs", beside(flows.into, inputs), from, "from"),
      this.tensors("Parameters and buffers", params, (v) => this.sharers(v, item), "shared with"),
      this.tensors("Outputs", outputs, to, "to"),
      this.tensors(outputs.length ? "Used outside as well" : "Outputs", beside(flows.outOf, outputs), to, "to"),
      this.together(item),
      this.plugins(source));
  }

  /** What other ranks issued together with a node. */
  together(item) {
    const links = this.model.links.filter(({ items }) => items.length > 1 && items.includes(item));
    return section("Issued together with", links.slice(0, SHOWN).map(({ op_type, number, group, ranks, items }) =>
      html("div", { class: "tensor" },
        html("div", {}, html("b", {}, visible(op_type)), ` ${number} of group ${visible(group)}, ranks ${visible(ranks)}`),
        html("div", { class: "name" }, items.filter((other) => other !== item).slice(0, 8)
          .flatMap((other, i) => [i ? ", " : "", link(this, other)])))));
  }

  showTensor(item) {
    const value = item.source;
    this.show(this.heading(item), this.ways(item, false), describe(value),
      this.tensors("Used by", named([item.value]), (v) => this.users(v, item), "in"), this.plugins(value));
  }

  showEdge(edge) {
    const ends = (flow) => [link(this, flow.from), " → ", link(this, flow.to)];
    this.show(
      html("h2", {}, edge.values.length === 1 ? "Tensor" : `${edge.values.length} tensors`),
      [...new Set(edge.values)].map((v) => section(null, [
        describe(this.model.values[v]),
        html("ul", { class: "ends" }, edge.flows.filter((flow) => flow.value === v).slice(0, SHOWN)
          .map((flow) => html("li", {}, ends(flow)))),
        this.plugins(this.model.values[v]),
      ])));
  }

  heading(item) {
    const path = [...around(item.parent)].reverse();
    return html("header", {},
      html("nav", { "aria-label": "Scopes around" }, path.map((scope) => [link(this, scope, true), " › "])),
      html("h2", {}, visible(item.title) || "unnamed"),
      html("p", { class: "name" }, visible(item.name)));
  }

  ways(item, isOpen) {
    const around = runAround(this.model, item);
    const button = (text, title, onclick) => html("button", { title, onclick }, text);
    return html("div", { class: "ways" },
      item.kind === "scope" ? button(isOpen ? "Close" : "Open", "Enter", () => this.actions.toggle(item)) : null,
      item.run ? button(`Show all ${item.times}`, "Show each of what repeats (x)", () => this.actions.repeat(item)) : null,
      !item.run && around ? button(`Fold ${around.times} into one`, "(x)", () => this.actions.repeat(item)) : null,
      button("↑ leads here", "What leads here (u)", () => this.actions.path(item, "up")),
      button("↓ follows", "What follows from it (d)", () => this.actions.path(item, "down")),
      button("↕ both", "Both (p)", () => this.actions.path(item, "both")));
  }

  /** A list of tensors, each with the name that it has there, and with links to the other ends. */
  tensors(title, values, others, word) {
    if (!values.length) return null;
    return section(`${title} (${values.length})`, values.slice(0, SHOWN).map(({ v, name }) => {
      const value = this.model.values[v];
      const items = others(v).filter(Boolean);
      return html("div", { class: "tensor" },
        html("div", {}, name && name !== value.name ? `${visible(name)}: ` : null,
          html("b", {}, shapeOf(value)), ` ${visible(value.dtype)}`,
          value.device === "cpu" ? null : ` ${visible(value.device)}`,
          value.requires_grad ? html("i", {}, " needs gradient") : null),
        measuredOf(value) ? html("div", {}, measuredOf(value)) : null,
        html("div", { class: "name" }, visible(value.name), value.grad_fn ? ` · ${visible(value.grad_fn)}` : null),
        items.length ? html("div", { class: "name" }, `${word} `,
          items.slice(0, 8).flatMap((item, i) => [i ? ", " : "", link(this, item)]),
          items.length > 8 ? ` and ${items.length - 8} more` : null) : null);
    }), values.length > SHOWN ? html("p", { class: "name" }, `… and ${values.length - SHOWN} more`) : null);
  }

  users(v, item) {
    const all = this.model.flows.filter((flow) => flow.value === v && flow.to !== item).map((flow) => flow.to);
    return [...new Set(all)];
  }

  sharers(v, item) {
    const { doc, nodes } = this.model;
    return doc.nodes.flatMap((node, i) => (nodes[i] !== item && (node.inputs ?? []).includes(v) ? [nodes[i]] : []));
  }

  /** What plugins wrote that is not a number among the measures. */
  plugins(source) {
    const told = [];
    for (const [plugin, facts] of Object.entries(source.meta ?? {})) {
      if (facts === argumentsOf(source)) continue;
      if (facts !== null && typeof facts === "object" && !Array.isArray(facts) && plugin !== "backward") {
        const rest = Object.entries(facts).filter(([, value]) => typeof value !== "number");
        if (rest.length) told.push(section(plugin, rows(rest)));
      } else if (plugin === "backward") told.push(section("Backward", rows(Object.entries(facts ?? {}))));
      else told.push(section(null, rows([[plugin, facts]])));
    }
    return told;
  }
}

/** Tensors as a call has them, in its order and under its names; those of a call without names each once. */
function named(values = [], names = []) {
  const each = names.length ? values : [...new Set(values)];
  return each.map((v, i) => ({ v, name: names[i] ?? "" }));
}

/** Tensors that flow there and are not among those of the call. */
function beside(flows, called) {
  const known = new Set(called.map(({ v }) => v));
  return named(flows.map((flow) => flow.value).filter((v) => !known.has(v)));
}

/** What a module's call was given that is no tensor. */
function argumentsOf(source) {
  const given = source.meta?.arguments;
  return given !== null && typeof given === "object" && !Array.isArray(given) ? given : {};
}

function link(panel, item, byShortName = false) {
  const text = byShortName ? item.short || item.title : item.name || item.title;
  return html("button", { class: "link", title: visible(item.name ?? ""), onclick: () => panel.actions.reveal(item) },
    legible(text, 60) || "unnamed");
}

function describe(value) {
  return rows([
    ["name", value.name], ["shape", shapeOf(value)], ["dtype", value.dtype], ["device", value.device],
    ["role", value.role ?? "activation"], ["requires_grad", Boolean(value.requires_grad)], ["grad_fn", value.grad_fn],
  ]);
}

/** A table of names and values; those that are not there are left out, and so is an empty table. */
function rows(pairs) {
  const shown = pairs.filter(([, value]) => value !== undefined && value !== null && value !== "");
  if (!shown.length) return null;
  return html("table", {}, shown.map(([name, value]) =>
    html("tr", {}, html("th", { scope: "row" }, visible(name)), html("td", {}, told(value)))));
}

function told(value) {
  const text = jsonText(value);
  return text.includes("\n") ? html("pre", {}, text.split("\n").map(visible).join("\n")) : visible(text);
}

function section(title, ...content) {
  const parts = content.flat().filter(Boolean);
  return parts.length ? html("section", {}, title ? html("h3", {}, visible(title)) : null, parts) : null;
}
