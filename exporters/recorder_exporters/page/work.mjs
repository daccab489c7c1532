// Work that takes long enough to be noticed: it says what it does, in pieces between which the page lives, and can be left.

import { byId, html } from "./dom.mjs";

/** Milliseconds of a piece. */
const PIECE = 40;

export class Work {
  constructor() {
    this.leave = null;
  }

  /** Do `steps`, functions, in turn. Gives whether all were done: not if the reader left, or something else began. */
  async run(text, steps) {
    this.leave?.();
    const notice = byId("notice");
    let left = false;
    const leave = () => {
      left = true;
    };
    this.leave = leave;
    const far = html("span", {});
    notice.replaceChildren(text, far, html("button", { onclick: leave, title: "Esc" }, "Leave"));
    await painted();
    let start = performance.now();
    for (let i = 0; i < steps.length && !left; i += 1) {
      steps[i]();
      if (performance.now() - start < PIECE) continue;
      far.textContent = ` ${Math.round(100 * (i + 1) / steps.length)} %`;
      await painted();
      start = performance.now();
    }
    if (this.leave === leave) {
      this.leave = null;
      notice.replaceChildren();
    }
    return !left;
  }
}

/** A moment for the browser to show what there is and to hear the reader; in a hidden tab nothing is shown. */
function painted() {
  return new Promise((done) => {
    const timer = setTimeout(done, 60);
    requestAnimationFrame(() => {
      clearTimeout(timer);
      setTimeout(done);
    });
  });
}
