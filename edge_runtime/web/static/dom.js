// Nodes made and brought up to date; times and numbers in words.

const SVG = "http://www.w3.org/2000/svg";
const DRAWN = new Set(["svg", "path", "g", "line", "rect", "text", "circle", "polyline", "title"]);

// h("p", {class: "note"}, "text", node, [nodes], null) -> an element. Text is never markup.
export function h(tag, attributes, ...children) {
  const node = DRAWN.has(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(
    ...children
      .flat(Infinity)
      .filter((one) => one !== null && one !== undefined && one !== false)
      .map(noded),
  );
  return node;
}

const noded = (one) => (one instanceof Node ? one : String(one));

// Make `old` what `fresh` is, and keep what is the same: focus, selection and scroll survive. Listeners of `fresh` are
// not taken over, so what is brought up to date uses data-… and one listener above it.
export function morph(old, fresh) {
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of [...fresh.attributes])
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  const wanted = [...fresh.childNodes],
    there = [...old.childNodes];
  wanted.forEach((one, place) => {
    const before = there[place];
    if (!before) old.append(one);
    else if (!alike(before, one)) before.replaceWith(one);
    else if (one.nodeType === Node.TEXT_NODE) {
      if (before.data !== one.data) before.data = one.data;
    } else morph(before, one);
  });
  there.slice(wanted.length).forEach((one) => one.remove());
}

const alike = (a, b) => a.nodeName === b.nodeName && a.nodeType === b.nodeType && key(a) === key(b);
const key = (node) => (node.getAttribute ? node.getAttribute("data-key") : null);

export const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "local time";
const zoneShort = () =>
  new Intl.DateTimeFormat([], { timeZoneName: "short" })
    .formatToParts(new Date())
    .find((part) => part.type === "timeZoneName").value;
export const zoneWords = () => (zone === zoneShort() ? zone : `${zone}, ${zoneShort()}`);
const time = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const minutes = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat([], { day: "numeric", month: "short" });
const year = new Intl.DateTimeFormat([], { day: "numeric", month: "short", year: "numeric" });

// Seconds since 1970, or ISO 8601 -> in the zone of who reads. Today's times have no date; "now" is the server's.
export const seconds = (when) => (typeof when === "number" ? when : Date.parse(when) / 1000);
export function clock(when, now_s, fine = false) {
  if (when === "" || when === null || when === undefined) return "not known";
  const date = new Date(seconds(when) * 1000),
    today = new Date(now_s * 1000);
  const told = (fine ? time : minutes).format(date);
  if (date.toDateString() === today.toDateString()) return told;
  return `${(date.getFullYear() === today.getFullYear() ? day : year).format(date)}, ${told}`;
}

export function ago(when, now_s) {
  const age = now_s - seconds(when);
  return age < 1.5 ? "just now" : `${lasts(age)} ago`;
}

export function lasts(s) {
  if (s < 90) return `${Math.round(s)} s`;
  if (s < 5400) return `${Math.round(s / 60)} min`;
  if (s < 172800) return `${(s / 3600).toFixed(s < 36000 ? 1 : 0)} h`;
  return `${Math.round(s / 86400)} days`;
}

export const number = (value, digits = 3) =>
  value === null || value === undefined ? "none" : Number(value.toPrecision(digits)).toString();
export const bytes = (n) =>
  n < 1e6
    ? `${(n / 1e3).toFixed(0)} kB`
    : n < 1e9
      ? `${(n / 1e6).toFixed(n < 1e7 ? 1 : 0)} MB`
      : `${(n / 1e9).toFixed(1)} GB`;
export const many = (n, one, more = `${one}s`) => `${n} ${n === 1 ? one : more}`;
export const words = (text) => text.replaceAll("_", " ");

// What a machine looks like, as a shape: colour is never all.
const SHAPES = {
  normal: ["M16 2a14 14 0 1 1 0 28a14 14 0 0 1 0-28z", "M9.5 16.5l4.5 4.5l8.5-9.5"],
  alarm: ["M10 1.5h12l8.5 8.5v12L22 30.5H10L1.5 22V10z", "M16 8.5v9M16 22.8v.2"],
  warning: ["M16 2.5L31 29H1z", "M16 12v8M16 24.6v.2"],
  deaf: [
    "M3 5.5a3 3 0 0 1 3-3h20a3 3 0 0 1 3 3v21a3 3 0 0 1-3 3H6a3 3 0 0 1-3-3z",
    "M8.5 13v6M13 10v12M19 10v12M23.5 13v6M5 27L27 5",
  ],
  attention: ["M16 2a14 14 0 1 1 0 28a14 14 0 0 1 0-28z", "M16 8.5v9M16 22.8v.2"],
  hidden: ["M16 2a14 14 0 1 1 0 28a14 14 0 0 1 0-28z", "M12 10.5v11M20 10.5v11"],
  unknown: ["M16 1.5L30.5 16L16 30.5L1.5 16z", "M12.6 12.6a3.5 3.5 0 1 1 4.8 3.3c-1 .4-1.4 1-1.4 2.2M16 22.4v.2"],
};
export function shape(look) {
  const [ground, ink] = SHAPES[look] || SHAPES.unknown;
  return h(
    "svg",
    { class: `shape ${look}`, viewBox: "0 0 32 32", "aria-hidden": "true" },
    h("path", { class: "ground", d: ground }),
    h("path", { class: "mark", d: ink }),
  );
}
