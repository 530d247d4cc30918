// Scores over time as SVG: what has a score is a line, what has none is a gap that says why.

import { clock, h, number } from "./dom.js";

const TALL = 84,
  WIDE = 300;

// The last minutes: {end_s, step_s, scores}; above the threshold the line is thick and red.
export function live(trace, threshold, warning, label) {
  const known = trace.scores.filter((score) => score !== null);
  const top = Math.max(threshold * 1.35, ...known) || 1,
    low = Math.min(0, ...known);
  const x = (place) => ((place + 0.5) / trace.scores.length) * WIDE;
  const y = (score) => 4 + (TALL - 8) * (1 - (score - low) / (top - low));
  const runs = stretches(trace.scores);
  const lines = runs.map((run) =>
    h("path", { class: "score", d: run.length > 1 ? path(run, x, y) : dot(run[0], x, y) }),
  );
  const above = stretches(trace.scores.map((score) => (score !== null && score > threshold ? score : null))).map(
    (run) => h("path", { class: "score above", d: run.length > 1 ? path(run, x, y) : dot(run[0], x, y) }),
  );
  const gaps = empty(trace.scores).map(([from, to]) =>
    h("rect", {
      class: "gap",
      x: x(from - 0.5),
      y: 0,
      width: x(to) - x(from) + WIDE / trace.scores.length,
      height: TALL,
    }),
  );
  return h(
    "svg",
    { class: "live", viewBox: `0 0 ${WIDE} ${TALL}`, preserveAspectRatio: "none", role: "img", "aria-label": label },
    gaps,
    warning === null ? null : level("warning-line", y(warning)),
    level("threshold", y(threshold)),
    lines,
    above,
  );
}

const level = (name, y) => h("line", { class: name, x1: 0, x2: WIDE, y1: y, y2: y });
const dot = ([place, score], x, y) => `M${(x(place) - 0.6).toFixed(1)} ${y(score).toFixed(1)}h1.2`;
const path = (run, x, y) =>
  run.map(([place, score], first) => `${first ? "L" : "M"}${x(place).toFixed(1)} ${y(score).toFixed(1)}`).join("");

// [score or null] -> runs of [place, score] without a hole.
export function stretches(scores) {
  const runs = [];
  scores.forEach((score, place) => {
    if (score === null) return;
    const last = runs.at(-1);
    if (last && last.at(-1)[0] === place - 1) last.push([place, score]);
    else runs.push([[place, score]]);
  });
  return runs;
}

function empty(scores) {
  const found = [];
  scores.forEach((score, place) => {
    if (score !== null) return;
    const last = found.at(-1);
    if (last && last[1] === place - 1) last[1] = place;
    else found.push([place, place]);
  });
  return found;
}

// Hours and days: least, mean and most of each step; alarms as a ground; below it what had no score, and why.
export function history({ steps, threshold, warning, alarms }, now_s, width) {
  const tall = 240,
    strip = 14,
    left = 46,
    right = 8,
    top_px = 12,
    count = steps.mean.length;
  const inner = Math.max(100, width - left - right),
    end_s = steps.begin_s + count * steps.step_s;
  const known = [...steps.highest, ...steps.lowest].filter((score) => score !== null);
  const top = Math.max(threshold * 1.25, ...known) || 1,
    low = Math.min(0, ...known);
  const x = (s) => left + ((s - steps.begin_s) / (end_s - steps.begin_s)) * inner;
  const at = (place) => x(steps.begin_s + (place + 0.5) * steps.step_s);
  const y = (score) => top_px + (tall - top_px) * (1 - (score - low) / (top - low));
  const one = inner / count;
  const bands = stretches(steps.highest).map((run) =>
    h("path", { class: "spread", d: around(run, steps.lowest, at, y, one) }),
  );
  const lines = stretches(steps.mean).map((run) =>
    h("path", { class: "score", d: run.length > 1 ? path(run, at, y) : dot(run[0], at, y) }),
  );
  const over = steps.highest.map((score, place) =>
    score !== null && steps.above[place]
      ? h("line", {
          class: "over",
          "stroke-width": Math.max(1.6, one + 0.3),
          x1: at(place),
          x2: at(place),
          y1: y(threshold),
          y2: y(score),
        })
      : null,
  );
  const grounds = alarms.map(([from, to]) => {
    const begin = Math.max(x(from), left),
      end = Math.min(x(to === null ? now_s : to), left + inner);
    return h("rect", {
      class: "alarm-ground",
      x: begin,
      y: top_px,
      width: Math.max(2, end - begin),
      height: tall - top_px,
    });
  });
  const cells = alike(steps).map(([kind, from, to]) =>
    kind
      ? h("rect", {
          class: `strip ${kind}`,
          x: at(from) - one / 2,
          y: tall + 5,
          width: (to - from + 1) * one,
          height: strip,
        })
      : null,
  );
  const grid = ticks(steps.begin_s, end_s, inner).map(([s, text]) => [
    h("line", { class: "grid", x1: x(s), x2: x(s), y1: top_px, y2: tall }),
    h(
      "text",
      {
        class: "axis",
        x: x(s),
        y: tall + strip + 20,
        "text-anchor": x(s) > left + inner - 24 ? "end" : x(s) < left + 20 ? "start" : "middle",
      },
      text,
    ),
  ]);
  const marks = levels(low, top).map((score) => [
    h("line", { class: "grid", x1: left, x2: left + inner, y1: y(score), y2: y(score) }),
    h("text", { class: "axis", x: left - 6, y: y(score) + 4, "text-anchor": "end" }, number(score, 2)),
  ]);
  const line = (name, score, text) => [
    h("line", { class: name, x1: left, x2: left + inner, y1: y(score), y2: y(score) }),
    h("text", { class: `axis ${name}-label`, x: left + inner - 2, y: y(score) - 5, "text-anchor": "end" }, text),
  ];
  const picture = h(
    "svg",
    {
      class: "history",
      width,
      height: tall + strip + 28,
      viewBox: `0 0 ${width} ${tall + strip + 28}`,
      role: "img",
      tabindex: 0,
      "aria-label": summary(steps, threshold),
    },
    h("rect", { class: "ground", x: left, y: top_px, width: inner, height: tall - top_px }),
    grounds,
    grid,
    marks,
    bands,
    over,
    lines,
    warning === null ? null : line("warning-line", warning, "warning"),
    line("threshold", threshold, "threshold"),
    h("rect", { class: "ground", x: left, y: tall + 5, width: inner, height: strip }),
    cells,
    h("line", { class: "cross", x1: -9, x2: -9, y1: top_px, y2: tall + strip + 5 }),
  );
  const place_of = (px) => Math.min(count - 1, Math.max(0, Math.floor(((px - left) / inner) * count)));
  const cross = (place) => {
    const line = picture.querySelector(".cross");
    line.setAttribute("x1", at(place));
    line.setAttribute("x2", at(place));
  };
  return { picture, place_of, cross, read: (place) => reading(steps, place, now_s), count };
}

// Neighbouring steps for which the same is true of what had no score: [kind, first, last].
function alike(steps) {
  const found = [];
  steps.scored.forEach((scored, place) => {
    const [unfit, lost] = [steps.unfit[place], steps.lost[place]];
    const kind =
      scored + unfit + lost === 0
        ? "nobody"
        : lost > scored && lost >= unfit
          ? "lost"
          : unfit > scored
            ? "unfit"
            : unfit + lost
              ? "partly"
              : "";
    if (found.length && found.at(-1)[0] === kind) found.at(-1)[2] = place;
    else found.push([kind, place, place]);
  });
  return found;
}

function around(run, lowest, at, y, one) {
  const wide = run.length > 1 ? 0 : one / 2;
  const up = run.map(
    ([place, score], first) =>
      `${first ? "L" : "M"}${(at(place) - (first ? -wide : wide)).toFixed(1)} ${y(score).toFixed(1)}`,
  );
  const down = [...run].reverse().map(([place]) => `L${at(place).toFixed(1)} ${(y(lowest[place]) + 0.5).toFixed(1)}`);
  return `${up.join("")}${down.join("")}Z`;
}

function reading(steps, place, now_s) {
  const when = clock(steps.begin_s + place * steps.step_s, now_s, steps.step_s < 60);
  const [scored, unfit, lost] = [steps.scored[place], steps.unfit[place], steps.lost[place]];
  if (scored + unfit + lost === 0) return `${when}: nobody listened`;
  const score = scored
    ? `score ${number(steps.mean[place])} (${number(steps.lowest[place])} to ${number(steps.highest[place])}), ${steps.above[place]} of ${scored} above the threshold`
    : "no score";
  return `${when}: ${score}${unfit ? `, ${unfit} unfit` : ""}${lost ? `, ${lost} lost` : ""}`;
}

function summary(steps, threshold) {
  const known = steps.highest.filter((score) => score !== null);
  return known.length
    ? `Scores, highest ${number(Math.max(...known))}, threshold ${number(threshold)}`
    : "No scores in this time";
}

function levels(low, top) {
  const raw = (top - low) / 4,
    power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= raw);
  const found = [];
  for (let score = Math.ceil(low / step) * step; score <= top; score += step) found.push(Number(score.toPrecision(6)));
  return found;
}

const STEPS = [600, 900, 1800, 3600, 7200, 10800, 14400, 21600, 43200, 86400, 172800, 432000, 604800];
function ticks(begin_s, end_s, width) {
  const step = STEPS.find((one) => ((end_s - begin_s) / one) * 78 <= width) || STEPS.at(-1);
  const offset = new Date(begin_s * 1000).getTimezoneOffset() * 60; // whole hours of who reads
  const found = [];
  for (let s = Math.ceil((begin_s - offset) / step) * step + offset; s <= end_s; s += step) {
    const date = new Date(s * 1000);
    const text =
      step >= 86400
        ? date.toLocaleDateString([], { day: "numeric", month: "short" })
        : date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
    found.push([s, text]);
  }
  return found;
}
