// The page's own address: "#node=NAME" is a link to a place of the model, and says which one is picked.

/** The item that a link with a name leads to: a node before a scope before a tensor, the first of each. */
export function itemNamed(model, name) {
  const fits = model.places.filter((item) => item.source && item.name === name);
  return ["node", "scope", "value"].map((kind) => fits.find((item) => item.kind === kind)).find(Boolean) ?? null;
}

/** The name that a link asks for; null if it asks for none, or for what nobody wrote. */
export function nameOf(hash) {
  const found = /^#node=(.*)$/s.exec(hash);
  if (!found) return null;
  try {
    return decodeURIComponent(found[1]);
  } catch {
    return null;
  }
}

/** The link to an item; "" for what no link leads to, as two have its name. */
export function hashOf(model, item) {
  if (!item?.name || itemNamed(model, item.name) !== item) return "";
  try {
    return `#node=${encodeURIComponent(item.name)}`;
  } catch {
    return ""; // half a character
  }
}

export class Address {
  /** `go` is called with the item of a link that is followed, `unknown` with a name that there is not. */
  constructor(model, go, unknown) {
    Object.assign(this, { model, go, unknown });
    window.addEventListener("hashchange", () => this.follow());
  }

  /** Go where the address says, if it says a place. */
  follow() {
    const name = nameOf(window.location.hash);
    if (name === null) return;
    const item = itemNamed(this.model, name);
    if (item) this.go(item);
    else this.unknown(name);
  }

  /** Say which item is picked, without a step in the browser's history. A frame in a notebook has no address to write. */
  write(item) {
    const hash = hashOf(this.model, item);
    if (hash === window.location.hash || (!hash && nameOf(window.location.hash) === null)) return;
    try {
      window.history.replaceState(null, "", hash || window.location.pathname + window.location.search);
    } catch {
      // Some browsers refuse in a sandbox, or when it is asked for too often.
    }
  }
}
