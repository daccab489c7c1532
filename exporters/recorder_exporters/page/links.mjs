// Links between the ranks of a job: what several of them issued together. They lie beside the flows, and lead nowhere.

/** How far a line swings out, at least, and how high it rises where both ends are in one row, at most. */
const SWING = 26;
const RISE = 70;

/** The links of a document, each with the items of its nodes. One on a single node says nothing that shows. */
export function linksOf(doc, nodes) {
  const links = [];
  for (const { op_type, group, number, phase, members } of doc.links ?? []) {
    const items = [...new Set(members.map(([, node]) => nodes[node]))];
    const ranks = members.map(([text]) => text).join(", ");
    links.push({ op_type, group, number, phase, ranks, items, sent: op_type === "send" });
  }
  return links;
}

/** Lines between what shows, by key. Links between the same two boxes are one line; inside a closed scope is none. */
export function linkLinesOf(links, boxes) {
  const shown = (node) => {
    let item = node.shown ?? node;
    while (item && !boxes.has(item)) item = item.parent;
    return item;
  };
  const found = new Map();
  for (const link of links) {
    const ends = [...new Set(link.items.map(shown).filter(Boolean))];
    if (!link.sent) ends.sort((one, other) => one.id - other.id);
    for (let i = 1; i < ends.length; i += 1) {
      const key = `${ends[i - 1].id} ${ends[i].id} ${link.sent ? "sent" : "shared"}`;
      const line = found.get(key) ?? { key, ends: [ends[i - 1], ends[i]], sent: link.sent, links: [] };
      line.links.push(link);
      found.set(key, line);
    }
  }
  for (const line of found.values()) line.points = pointsBetween(...line.ends.map((end) => boxes.get(end)));
  return found;
}

/** From side to side: where a curve starts, by which two points it is drawn, and where it ends. */
function pointsBetween(one, other) {
  const y = (box) => box.y + box.h / 2;
  const right = (box) => ({ x: box.x + box.w, y: y(box) });
  const left = (box) => ({ x: box.x, y: y(box) });
  let [start, end, out, back] = [right(one), right(other), 1, 1]; // one above the other
  if (one.x + one.w <= other.x) [end, back] = [left(other), -1];
  else if (other.x + other.w <= one.x) [start, out] = [left(one), -1];
  const swing = Math.max(SWING, Math.abs(end.x - start.x) / 3);
  const away = Math.abs(end.x - start.x);
  const rise = out !== back && Math.abs(end.y - start.y) < away / 8 ? Math.min(RISE, away / 6) : 0;
  return [start, { x: start.x + out * swing, y: start.y - rise }, { x: end.x + back * swing, y: end.y - rise }, end];
}

/** An SVG path of such points. */
export function curveOf([start, one, other, end]) {
  const at = ({ x, y }) => `${Math.round(x * 10) / 10} ${Math.round(y * 10) / 10}`;
  return `M${at(start)}C${at(one)} ${at(other)} ${at(end)}`;
}

/** The head of an arrow at its end. */
export function headOf([, , before, { x, y }]) {
  const back = before.x > x ? 7 : -7;
  return `M${x} ${y}l${back} -3.5v7Z`;
}

/** What a line stands for, in words. */
export function wordsOf({ links }) {
  const counts = new Map();
  for (const { op_type } of links) counts.set(op_type, (counts.get(op_type) ?? 0) + 1);
  return [...counts].map(([op_type, count]) => (count === 1 ? op_type : `${op_type} × ${count}`)).join(", ");
}
