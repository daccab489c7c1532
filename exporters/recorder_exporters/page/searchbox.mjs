// The field that finds places by name, type and shape, and the list of what it found.

import { byId, html } from "./dom.mjs";
import { buildIndex, find } from "./search.mjs";
import { captionOf, legible } from "./text.mjs";

const SHOWN = 100;

export class SearchBox {
  /** `go` is called with an item to go to, `mark` with all that was found. */
  constructor(model, go, mark) {
    Object.assign(this, { model, go, mark, field: byId("search"), list: byId("found"), items: [], at: -1 });
    this.field.addEventListener("input", () => this.run());
    this.field.addEventListener("focus", () => this.items.length && this.open(true));
    this.field.addEventListener("keydown", (event) => this.key(event));
    document.addEventListener("pointerdown", (event) => {
      if (!event.target.closest("#finder")) this.open(false);
    });
  }

  open(shown) {
    this.list.hidden = !shown;
    this.field.setAttribute("aria-expanded", String(shown));
  }

  run() {
    this.index ??= buildIndex(this.model);
    this.items = find(this.index, this.field.value);
    this.at = -1;
    const more = this.items.length - SHOWN;
    this.list.replaceChildren(
      ...this.items.slice(0, SHOWN).map((item, i) => html("li", { role: "option", "data-id": item.id,
        onclick: () => this.pick(i) },
      html("b", {}, legible(item.title) || "unnamed"),
      html("span", { class: "name" }, legible(item.name, 80)),
      html("span", { class: "sizes" }, this.sizes(item)))),
      html("li", { class: "note" }, this.items.length === 0 ? "nothing found" : more > 0 ? `and ${more} more` : ""));
    this.open(this.field.value.trim() !== "");
    this.mark(this.items);
    byId("status").textContent = `${this.items.length} found`;
  }

  sizes(item) {
    const values = item.kind === "value" ? [item.value] : item.source.outputs ?? [];
    return values.slice(0, 2).map((v) => captionOf(this.model.values[v])).join(", ");
  }

  choose(i) {
    if (!this.items.length) return;
    this.at = (i + this.items.length) % this.items.length;
    [...this.list.children].forEach((row, n) => row.setAttribute("aria-selected", String(n === this.at)));
    this.list.children[Math.min(this.at, SHOWN - 1)]?.scrollIntoView({ block: "nearest" });
    this.go(this.items[this.at]);
  }

  /** Choose by a click or a touch: what is chosen is to be seen, and on a telephone it would lie below the list. Keys
   *  walk on, and keep it. */
  pick(i) {
    this.choose(i);
    this.open(false);
  }

  clear() {
    this.field.value = "";
    this.run();
    this.open(false);
  }

  key(event) {
    if (event.key === "Enter") this.choose(this.at + (event.shiftKey ? -1 : 1));
    else if (event.key === "ArrowDown") this.choose(this.at + 1);
    else if (event.key === "ArrowUp") this.choose(this.at - 1);
    else if (event.key === "Escape") {
      if (this.field.value) this.clear();
      else this.field.blur();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
