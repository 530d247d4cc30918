// Every machine as a card, every alarm that wants something as a row.

import { now_s } from "./api.js";
import { buttons } from "./actions.js";
import { ago, clock, h, lasts, many, morph, number, seconds, shape } from "./dom.js";
import { live } from "./chart.js";

let place = null;
const ORDER = ["alarm", "deaf", "warning", "attention", "unknown", "normal", "hidden"];

export function open(view) {
  place = h("div", { class: "overview" });
  view.append(place);
}

export function show(state, fresh) {
  const machines = [...state.machines].sort((a, b) => ORDER.indexOf(a.look) - ORDER.indexOf(b.look));
  const asking = state.alarms.filter((one) => !["shelved", "out_of_service"].includes(one.state));
  const hidden = state.alarms.filter((one) => ["shelved", "out_of_service"].includes(one.state));
  morph(
    place,
    h(
      "div",
      { class: "overview" },
      asking.length || hidden.length
        ? h(
            "section",
            {},
            h("h1", {}, asking.length ? many(asking.length, "alarm") : `${many(hidden.length, "alarm")} put away`),
            [...asking, ...hidden].map((one) => row(one, fresh)),
          )
        : null,
      h(
        "section",
        {},
        h("h1", {}, asking.length || hidden.length ? "Machines" : "Machines, no alarm"),
        machines.length
          ? h(
              "div",
              { class: "cards" },
              machines.map((one) =>
                card(
                  one,
                  fresh,
                  state.alarms.some((alarm) => alarm.machine === one.name),
                ),
              ),
            )
          : h(
              "p",
              { class: "empty" },
              "No machine is listened to yet. Start the listener: python -m edge_runtime run SITE.yaml",
            ),
      ),
    ),
  );
}

const SEEN = ["acknowledged", "latched_acknowledged"];

// Who did the last thing to an alarm: only who acknowledged it has seen it.
function person(alarm) {
  if (!alarm.by) return "";
  if (alarm.said) return ` · ${alarm.by}: “${alarm.said}”`;
  return SEEN.includes(alarm.state) ? ` · ${alarm.by} has seen it` : "";
}

// One alarm with what can be done to it.
export function row(alarm, fresh) {
  const look = ["shelved", "out_of_service"].includes(alarm.state)
    ? "hidden"
    : alarm.kind === "not_listening"
      ? "deaf"
      : alarm.level === "normal"
        ? "attention"
        : alarm.level;
  const left = alarm.shelf_left_s === null ? "" : ` for ${lasts(alarm.shelf_left_s)} more`;
  const since = alarm.since
    ? `since ${clock(alarm.since, now_s())} (${lasts(Math.max(0, now_s() - seconds(alarm.since)))})`
    : "since before what the history still has";
  return h(
    "article",
    { class: `ask ${look}`, "data-key": `${alarm.machine} ${alarm.kind}` },
    shape(look),
    h(
      "div",
      {},
      h(
        "h2",
        {},
        h("a", { href: `/machines/${encodeURIComponent(alarm.machine)}` }, alarm.machine),
        `: ${alarm.word}${left}${alarm.silenced ? ", silenced" : ""}`,
      ),
      h("p", { class: "why" }, alarm.reason || alarm.why || ""),
      h(
        "p",
        { class: "note" },
        since,
        alarm.score === null ? "" : `, score ${number(alarm.score)}`,
        person(alarm),
      ),
      h("p", { class: "todo" }, alarm.todo),
    ),
    buttons(alarm, fresh),
  );
}

function card(machine, fresh, told) {
  const above = machine.score !== null && machine.score > machine.threshold;
  const last = machine.last ? `${ago(machine.last, now_s())}` : "no window yet";
  const label = `Score of the last 5 minutes: now ${number(machine.score)}, threshold ${number(machine.threshold)}`;
  return h(
    "article",
    { class: `card ${machine.look}`, "data-key": machine.name },
    h("h2", {}, shape(machine.look), h("a", { href: `/machines/${encodeURIComponent(machine.name)}` }, machine.name)),
    h("p", { class: "word" }, machine.word),
    machine.todo && !told ? h("p", { class: "note" }, machine.todo) : null,
    live(machine.trace, machine.threshold, machine.warning, label),
    h(
      "p",
      { class: "under" },
      h("span", {}, fresh ? "last 5 minutes" : "the last 5 minutes that there were"),
      h("span", { class: "limit" }, "threshold ", number(machine.threshold)),
    ),
    h(
      "dl",
      { class: "facts" },
      fact(
        "Score",
        machine.score === null
          ? "none"
          : h("span", { class: above ? "bad" : "" }, `${number(machine.score)}${above ? " ▲ above" : ""}`),
      ),
      fact(
        "Level",
        machine.level_dbfs === null ? (machine.last ? "silent" : "none yet") : `${machine.level_dbfs.toFixed(1)} dBFS`,
      ),
      fact("Last window", last),
      fact("Microphone", `${machine.microphone}${machine.heard === false ? ": not heard" : ""}`),
    ),
    machine.faults.length ? h("p", { class: "faults" }, `Sound: ${machine.faults.join("; ")}`) : null,
    machine.heard === false && machine.heard_why ? h("p", { class: "faults" }, machine.heard_why) : null,
  );
}

const fact = (name, value) => h("div", {}, h("dt", {}, name), h("dd", {}, value));
