// Pictures of an event with axes: seconds across, frequencies up, what colours mean, bands of the reason, a playhead.

import { h, number } from "./dom.js";

const NAMES = {
  "spectrogram.png": ["Spectrogram", "Level of each band over time"],
  "deviation.png": ["Deviation", "How far each band is from the nearest normal spectrum"],
};

// -> {node, head(second)}
export function figure(name, address, told, seek) {
  const { event, files, marks, bands } = told;
  const [title, words] = NAMES[name];
  const line = h("line", { class: "head", x1: 0, x2: 0, y1: 0, y2: "100%" });
  const over = h(
    "svg",
    { class: "over", "aria-hidden": "true" },
    bands.map(([low, high]) =>
      h("rect", { class: "band", x: "0", width: "100%", y: per(1 - high), height: per(Math.max(high - low, 0.012)) }),
    ),
    gaps(event),
    moments(event),
    line,
  );
  const image = h("img", { src: address, alt: `${title}: ${event.reason.words}`, draggable: "false" });
  if (event.pictures) image.style.width = per((files[name].width * event.pictures.column_s) / event.seconds);
  const plot = h("div", { class: "picture" }, image, over);
  const node = h(
    "figure",
    { class: "drawn" },
    h("figcaption", {}, h("b", {}, title), ` ${words}`),
    axis(marks),
    plot,
    across(event.seconds),
    scale(files[name], name, event),
  );
  return { node, head: clickable(plot, line, event.seconds, seek) };
}

// The scores of the windows, at the second where each ends.
export function scores(told, seek) {
  const { event, windows } = told,
    known = windows.filter((one) => one.score !== null);
  const top = Math.max(event.threshold * 1.3, ...known.map((one) => one.score)) || 1,
    low = Math.min(0, ...known.map((one) => one.score));
  const y = (score) => 2 + 66 * (1 - (score - low) / (top - low)),
    x = (s) => (s / event.seconds) * 1000;
  let pen = "M";
  const path = windows
    .map((one) => {
      if (one.score === null) {
        pen = "M";
        return "";
      }
      const step = `${pen}${x(one.end_s).toFixed(1)} ${y(one.score).toFixed(1)}`;
      pen = "L";
      return step;
    })
    .join("");
  const line = h("line", { class: "head", x1: 0, x2: 0, y1: 0, y2: "100%" });
  const plot = h(
    "div",
    { class: "picture low" },
    h(
      "svg",
      {
        class: "curve",
        viewBox: "0 0 1000 70",
        preserveAspectRatio: "none",
        role: "img",
        "aria-label": `Scores, highest ${number(event.score)}, threshold ${number(event.threshold)}`,
      },
      h("line", { class: "threshold", x1: 0, x2: 1000, y1: y(event.threshold), y2: y(event.threshold) }),
      h("path", { class: "score", d: path || "M0 0" }),
    ),
    h("svg", { class: "over", "aria-hidden": "true" }, moments(event), line),
  );
  const labels = h(
    "div",
    { class: "axis-up", "aria-hidden": "true" },
    label(number(event.threshold, 2), 1 - y(event.threshold) / 70),
  );
  const node = h(
    "figure",
    { class: "drawn" },
    h("figcaption", {}, h("b", {}, "Score"), " of the window that ends there; dashed: the threshold"),
    labels,
    plot,
    across(event.seconds),
  );
  return { node, head: clickable(plot, line, event.seconds, seek) };
}

const per = (part) => `${(100 * part).toFixed(2)}%`;

function clickable(plot, line, seconds, seek) {
  plot.addEventListener("click", (click) => {
    const box = plot.getBoundingClientRect();
    seek(((click.clientX - box.left) / box.width) * seconds);
  });
  return (s) => {
    const x = per(Math.min(s / seconds, 1));
    line.setAttribute("x1", x);
    line.setAttribute("x2", x);
  };
}

// Where it began, was raised and was over.
function moments(event) {
  return [
    ["since_s", "began"],
    ["alarm_s", "raised"],
    ["returned_s", "over"],
  ]
    .filter(([name]) => event[name] !== null)
    .map(([name, text]) => {
      const x = per(Math.min(Math.max(event[name] / event.seconds, 0), 1));
      return h("line", { class: `moment ${text}`, x1: x, x2: x, y1: 0, y2: "100%" }, h("title", {}, text));
    });
}

// Sound that was lost: silent here.
function gaps(event) {
  return (event.gaps || []).map(([from, to]) =>
    h(
      "rect",
      {
        class: "missing",
        x: per(from / event.seconds),
        width: per(Math.max(0.002, (to - from) / event.seconds)),
        y: 0,
        height: "100%",
      },
      h("title", {}, "no sound was there"),
    ),
  );
}

function axis(marks) {
  return h(
    "div",
    { class: "axis-up", "aria-hidden": "true" },
    marks
      .filter(([hz]) => [0, 500, 1000, 2000, 4000, 8000].includes(hz))
      .map(([hz, up]) => label(hz >= 1000 ? `${hz / 1000} kHz` : `${hz}`, up)),
  );
}

function label(text, up) {
  const node = h("span", {}, text);
  node.style.bottom = per(up);
  return node;
}

const STEPS = [1, 2, 5, 10, 20, 30, 60, 120];
function across(seconds) {
  const step = STEPS.find((one) => seconds / one <= 8) || 300,
    marks = [];
  for (let s = 0; s <= seconds + 1e-6; s += step) {
    const node = h("span", { class: s > 0.95 * seconds ? "end" : "" }, s + step > seconds ? `${s} s` : s);
    node.style.left = per(s / seconds);
    marks.push(node);
  }
  return h("div", { class: "axis-across", "aria-hidden": "true" }, marks);
}

// From the palette of the picture itself, and the decibels that the manifest says its ends mean. Its first colour is that
// of sound that is missing.
function scale(file, name, event) {
  const shown = event.pictures,
    away = name === "deviation.png";
  const [low, high] = shown ? (away ? [-shown.most_db, shown.most_db] : [shown.low_db, shown.high_db]) : [null, null];
  const colours = (file.colours || []).slice(1);
  const steps = Array.from(
    { length: colours.length ? 24 : 0 },
    (_, place) => colours[Math.round((place / 23) * (colours.length - 1))],
  );
  return h(
    "p",
    { class: "scale" },
    h("span", {}, low === null ? (away ? "below normal" : "quiet") : `${low}`),
    h(
      "svg",
      { viewBox: "0 0 24 1", preserveAspectRatio: "none", "aria-hidden": "true" },
      steps.map((one, place) => h("rect", { x: place, y: 0, width: 1.05, height: 1, fill: `#${one}` })),
    ),
    h("span", {}, high === null ? (away ? "above normal" : "loud") : away ? `+${high} dB from normal` : `${high} dB`),
    h(
      "span",
      { class: "keys" },
      h("i", { class: "key band-key" }),
      "band of the reason",
      h("i", { class: "key raised-key" }),
      "raised",
    ),
  );
}
