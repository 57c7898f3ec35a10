// Queues: nobody says who sends into them, so each is a track of its own: senders, what waits, the receiver.

import { count, h, s, say, set, state } from "./words.js";

/// More than that are in the list only.
const MOST = 12;
const [WIDTH, MID, LEFT, RIGHT] = [250, 34, 30, 226];

export class Tracks {
  constructor(box, world, select) {
    Object.assign(this, { box, world, select, known: new Map() });
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
  }

  draw(rows, alone) {
    const shown = rows.length > (alone ? 48 : MOST) ? [] : rows;
    set(this.box, { hidden: !shown.length });
    const ids = new Set(shown.map((row) => row.id));
    for (const [id, track] of this.known) if (!ids.has(id)) (track.button.remove(), this.known.delete(id));
    shown.forEach((row, i) => this.track(row, i));
  }

  track(row, i) {
    let track = this.known.get(row.id);
    if (!track) {
      const parts = {
        into: s("path", { d: `M${LEFT + 8} ${MID}H104`, class: "line" }),
        out: s("path", { d: `M162 ${MID}H${RIGHT - 10}`, class: "line" }),
        senders: s("text", { x: LEFT - 12, y: MID + 5, "text-anchor": "middle", class: "inside" }),
        box: s("rect", { x: 106, y: MID - 12, width: 54, height: 24, rx: 6 }),
        fill: s("rect", { x: 106, y: MID - 12, height: 24, rx: 6, class: "fill" }),
        waiting: s("text", { x: 133, y: MID + 4.5, "text-anchor": "middle", class: "inside" }),
        receiver: s("circle", { cx: RIGHT, cy: MID, r: 8 }),
        dots: [0, 1, 2, 3].map(() => s("circle", { r: 2.8, cy: MID, class: "dot" })),
        name: s("text", { x: 6, y: 12, class: "name" }),
      };
      const { dots, ...rest } = parts;
      const svg = s("svg", { viewBox: `0 0 ${WIDTH} 54`, "aria-hidden": true }, ...Object.values(rest), ...dots);
      parts.button = h("button", { type: "button", class: "track", onclick: () => this.select(row.id) }, svg);
      this.known.set(row.id, (track = parts));
    }
    if (this.box.children[i] !== track.button) this.box.insertBefore(track.button, this.box.children[i] ?? null);
    const word = state(row);
    set(track.button, {
      class: `track is-${word}${row.pressure === "high" ? " is-high" : ""}${this.world.selected === row.id ? " is-selected" : ""}`,
      "aria-label": `queue ${row.name}: ${row.senders ?? 0} senders, ${count(row.waiting)} waiting, receiver ${word}`,
    });
    set(track.into, { class: row.sent_rate > 0 ? "line is-lit" : "line" });
    set(track.out, { class: row.received_rate > 0 ? "line is-lit" : "line" });
    track.rates = [row.sent_rate, row.received_rate];
    set(track.fill, { width: row.waiting ? Math.min(54, 6 + 12 * Math.log10(1 + row.waiting)) : 0 });
    say(track.senders, `${row.senders ?? 0}×`);
    say(track.waiting, row.waiting ? count(row.waiting) : "");
    say(track.name, row.name.length > 34 ? row.name.slice(0, 33) + "…" : row.name);
  }

  move(now) {
    for (const { dots, rates } of this.known.values()) {
      dots.forEach((dot, i) => {
        const side = i >> 1;
        const shown = rates[side] > 0 && !this.still.matches;
        dot.setAttribute("visibility", shown ? "visible" : "hidden");
        if (!shown) return;
        const t = (now / 1400 + (i % 2) / 2) % 1;
        const [from, to] = side ? [162, RIGHT - 10] : [LEFT + 8, 104];
        dot.setAttribute("cx", (from + (to - from) * t).toFixed(1));
      });
    }
  }
}
