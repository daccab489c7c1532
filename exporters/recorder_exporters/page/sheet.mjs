// How a drawing is laid on a sheet that can be looked at: a long one is cut into columns, or into rows where everything
// flows across, which are read one after the other.

/** So many times longer than wide, and so long, is what is cut. */
const LONG = { ratio: 2.5, length: 1600 };
/** Width of a sheet to its height. */
const SHEET = 1.4;
/** Between two columns, for the line that parts them. */
export const GUTTER = 24;

/** The parts of a scene in the order in which they are read, `[{x, y, w, h, left, top}]`: what of the plane each shows, and
 *  where on the sheet it stands. One part, if the scene needs no cut. */
export function partsOf(scene) {
  const { w, h } = scene;
  const down = h >= w;
  const [length, width] = down ? [h, w] : [w, h];
  const count = length > LONG.ratio * width && length > LONG.length
    ? Math.ceil(Math.sqrt((down ? SHEET : 1 / SHEET) * length / (width + GUTTER))) : 1;
  const spans = [...scene.boxes.values(), ...scene.labels.values()]
    .map(({ x, y, w: across = 0, h: high = 0 }) => (down ? [y - 10, y + high + 4] : [x - 10, x + across + 4]));
  const cuts = [0, ...cutsOf(spans, length, count), length];
  return cuts.slice(1).map((until, i) => {
    const [from, size, aside] = [cuts[i], until - cuts[i], i * (width + GUTTER)];
    return down ? { x: 0, y: from, w, h: size, left: aside, top: 0 } : { x: from, y: 0, w: size, h, left: 0, top: aside };
  });
}

/** Where to cut: near equal parts, through no box if there is such a place near by. */
function cutsOf(spans, length, count) {
  const found = [];
  for (let i = 1; i < count; i += 1) {
    const wish = (length * i) / count;
    const ways = [wish, ...spans.flat()].filter((at) => Math.abs(at - wish) < (0.4 * length) / count);
    const through = (at) => spans.filter(([from, until]) => from < at && at < until).length;
    const cost = (at) => through(at) * length + Math.abs(at - wish);
    found.push(ways.reduce((best, at) => (cost(at) < cost(best) ? at : best)));
  }
  return found;
}
