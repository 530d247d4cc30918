// Which page is shown, that it is fresh, and who is signed in. Nothing old is shown as if it were so now.

import { get, now_s, skew_s } from "./api.js";
import { begin as beginActions, me, meShown, signIn } from "./actions.js";
import { clock, h, lasts, morph, shape, words, zoneWords } from "./dom.js";
import * as overview from "./overview.js";
import * as machine from "./machine.js";
import * as events from "./events.js";
import * as event from "./event.js";
import * as health from "./health.js";

const EVERY_MS = 2000,
  HIDDEN_MS = 10000,
  OLD_S = 8,
  HIDDEN_OLD_S = 80; // browsers let a hidden tab ask once a minute, some of them
const view = document.getElementById("view"),
  banner = document.getElementById("banner");
const PAGES = [
  [/^\/$/, overview],
  [/^\/machines\/([^/]+)$/, machine],
  [/^\/events$/, events],
  [/^\/events\/([^/]+)$/, event],
  [/^\/health$/, health],
];

let state = null,
  got_ms = -Infinity,
  error = "",
  page = null,
  timer = 0;

const old_s = () => (performance.now() - got_ms) / 1000;

async function look() {
  clearTimeout(timer);
  try {
    state = await get("/api/state");
    got_ms = performance.now();
    error = "";
  } catch (refusal) {
    error = refusal.message;
    if (refusal.status === 401) {
      state = null;
      show();
      await signIn("This page is not for everybody.");
      return look();
    }
  }
  show();
  if (page && page.look && !error) page.look(state).catch(() => {});
  timer = setTimeout(look, document.hidden ? HIDDEN_MS : EVERY_MS);
}

function show() {
  const lost = !state || old_s() > (document.hidden ? HIDDEN_OLD_S : OLD_S);
  const fresh = Boolean(state) && !lost && state.listening.fresh;
  document.body.classList.toggle("stale", !fresh);
  document.getElementById("site").textContent = state ? state.site : "auscult";
  morph(banner, h("div", { id: "banner" }, state || error ? sentence(lost) : null));
  document.getElementById("icon").href = `/static/icon${!fresh ? "-unknown" : urgent() ? "-alarm" : ""}.svg`;
  const spoken = document.getElementById("spoken"); // read out when it changes, not when an age does
  if (spoken.textContent !== headline(lost)) spoken.textContent = headline(lost);
  document.title = `${headline(lost)} · ${state ? state.site : "auscult"}`;
  meShown();
  if (page && state) page.show(state, fresh);
  const skew =
    Math.abs(skew_s()) > 30 && state
      ? ` This device's clock is ${lasts(Math.abs(skew_s()))} ${skew_s() > 0 ? "ahead of" : "behind"} the listener's, whose times are shown.`
      : "";
  document.getElementById("foot").textContent = `Times: ${zoneWords()}.${skew}`;
}

const urgent = () =>
  state.alarms.some(
    (one) => one.kind === "not_listening" || ["unacknowledged", "latched_unacknowledged"].includes(one.state),
  ) || state.machines.some((one) => ["alarm", "deaf"].includes(one.look));

function headline(lost) {
  if (lost) return "? No connection";
  if (!state.listening.fresh) return "? Nobody listens";
  const bad = state.machines.filter((one) => one.look !== "normal" && one.look !== "hidden");
  return bad.length
    ? `! ${bad.length === 1 ? `${bad[0].name}: ${bad[0].word}` : `${bad.length} machines`}`
    : "All normal";
}

const LOUD = {
  gone: "Nobody listens",
  hangs: "The listener hangs",
  starting: "The listener is starting",
  waiting: "Nothing has listened here yet",
  unreadable: "The journal cannot be read",
};

function sentence(lost) {
  if (lost)
    return said(
      "unknown",
      "No connection",
      `The page's server does not answer (${error || "no answer yet"}). ${state ? `What is below is what was at ${clock(now_s() - old_s(), now_s(), true)}.` : ""} Nothing is known of the machines.`,
    );
  const { listening, machines } = state;
  if (!listening.fresh) {
    const last = listening.last
      ? ` Last sign of life: ${clock(listening.last, now_s(), true)}, ${lasts(Math.max(0, now_s() - Date.parse(listening.last) / 1000))} ago.`
      : "";
    return said("unknown", LOUD[listening.state] || "Not known", `${listening.words}${last}`);
  }
  const warn = listening.clock
    ? ` The clock of the listener is ${listening.clock === "unset" ? "not set" : words(listening.clock)}: times are wrong.`
    : "";
  const order = ["alarm", "deaf", "unknown", "warning", "attention"];
  const bad = machines
    .filter((one) => order.includes(one.look))
    .sort((a, b) => order.indexOf(a.look) - order.indexOf(b.look));
  if (!machines.length) return said("unknown", "No machine", "The listener listens to no machine.");
  if (!bad.length) {
    const hidden = machines.filter((one) => one.look === "hidden").length;
    const rest = machines.length - hidden;
    const all = !rest
      ? "Every machine is shelved or out of service"
      : machines.length === 1
        ? "The machine sounds normal"
        : rest === machines.length
          ? `All ${rest} machines sound normal`
          : `${rest} of ${machines.length} machines sound normal, ${hidden} not watched`;
    return said(rest ? "normal" : "hidden", all, warn.trim());
  }
  const rest = machines.length - bad.length;
  const others = rest ? ` ${rest === 1 ? "The other machine needs" : `The other ${rest} need`} nothing.` : "";
  return said(bad[0].look, bad.map((one) => `${one.name}: ${one.word}`).join(" · "), `${bad[0].todo}${others}${warn}`);
}

const said = (look, head, text) =>
  h("div", { class: `banner ${look}` }, shape(look), h("p", {}, h("b", {}, head), " ", h("span", {}, text)));

function open() {
  const path = location.pathname;
  const [match, found] = PAGES.map(([pattern, one]) => [path.match(pattern), one]).find(([one]) => one) || [null, null];
  if (page && page.leave) page.leave();
  page = found;
  view.replaceChildren();
  for (const link of document.querySelectorAll("nav a")) {
    const here =
      link.getAttribute("href") === "/"
        ? path === "/" || path.startsWith("/machines")
        : path.startsWith(link.getAttribute("href"));
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (!page)
    return view.append(h("h1", {}, "There is nothing here"), h("p", {}, h("a", { href: "/" }, "To the machines")));
  page.open(view, match[1] ? decodeURIComponent(match[1]) : "");
  if (state) show();
  look();
}

document.addEventListener("click", (click) => {
  const link = click.target.closest("a[href^='/']");
  if (
    !link ||
    click.defaultPrevented ||
    click.button ||
    click.metaKey ||
    click.ctrlKey ||
    click.shiftKey ||
    link.hasAttribute("download") ||
    link.target
  )
    return;
  click.preventDefault();
  history.pushState(null, "", link.href);
  open();
  scrollTo(0, 0);
  view.focus({ preventScroll: true });
});
addEventListener("popstate", open);
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) look();
});
setInterval(show, 1000);
beginActions(look);
me().then(open);
