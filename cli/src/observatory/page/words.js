// Numbers and texts for people, and the making of elements. What comes from outside becomes text nodes and attributes, never markup.

const grouped = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

export const count = (n) => (n >= 1e6 ? scaled(n, 1000, ["", "k", "M", "G", "T"]) : grouped.format(n ?? 0));

export const rate = (n) => (!n ? "0" : n < 10 ? n.toFixed(1) : n < 1e4 ? grouped.format(n) : scaled(n, 1000, ["", "k", "M", "G"]));

export const bytes = (n) => scaled(n ?? 0, 1024, [" B", " KiB", " MiB", " GiB", " TiB"]);

export const nanos = (n) => (n == null ? "–" : n < 1e9 ? scaled(n, 1000, [" ns", " µs", " ms"]) : span(n / 1e6));

export function span(ms) {
  if (ms == null) return "–";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const s = ms / 1000;
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 120) return `${Math.floor(s)} s`;
  if (s < 7200) return `${Math.floor(s / 60)} min`;
  return s < 172800 ? `${Math.floor(s / 3600)} h` : `${Math.floor(s / 86400)} d`;
}

function scaled(n, step, units) {
  let unit = 0;
  while (n >= step && unit + 1 < units.length) [n, unit] = [n / step, unit + 1];
  return (unit && n < 100 && n % 1 ? n.toFixed(1) : Math.round(n)) + units[unit];
}

/// Control characters as their symbols, so that nothing hides.
export const visible = (text) =>
  text.replace(/[\u0000-\u0008\u000b-\u001f]/g, (c) => String.fromCharCode(0x2400 + c.charCodeAt(0))).replace(/[\u007f-\u009f]/g, "\ufffd");

/// What a base64 text has in it, as bytes for people.
export function hex(base64) {
  const raw = atob(base64).slice(0, 256);
  return Array.from(raw, (c) => c.charCodeAt(0).toString(16).padStart(2, "0")).join(" ") + (base64.length > 344 ? " …" : "");
}

const SVG = "http://www.w3.org/2000/svg";

function make(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value != null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child != null && child !== false));
  return element;
}

export const h = (name, attributes, ...children) => make(document.createElement(name), attributes, children);
export const s = (name, attributes, ...children) => make(document.createElementNS(SVG, name), attributes, children);

/// Changes what is different only: a selection or a pointer on it survives.
export function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value == null || value === false) element.removeAttribute(name);
    else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
  }
  return element;
}

export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
  return element;
}

/// The line of a sparkline over its width, and the area below it.
export function spark(values, width, height, points = 60) {
  const last = values.slice(-points);
  const top = Math.max(1, ...last);
  const x = (i) => (width - ((last.length - 1 - i) * width) / (points - 1)).toFixed(1);
  const y = (v) => (height - 1 - (v / top) * (height - 3)).toFixed(1);
  const line = last.map((v, i) => `${i ? "L" : "M"}${x(i)} ${y(v)}`).join("");
  return { line, area: last.length ? `${line}L${width} ${height}L${x(0)} ${height}Z` : "" };
}

/// The state of a row in one word.
export function state(row) {
  if (row.presence !== "here") return row.presence;
  return row.receiver_alive ? "awake" : "asleep";
}
