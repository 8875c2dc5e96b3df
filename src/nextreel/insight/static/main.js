// The page: which view, which theme, and asking again where figures have changed.

import { follow, get } from "./api.js";
import { el } from "./dom.js";
import * as filters from "./filters.js";
import { ForYou } from "./foryou.js";
import { Pipeline } from "./pipeline.js";
import { address, go, onChange, read, state } from "./state.js";
import { View } from "./view.js";

const OWN = { foryou: ["For you", ForYou], pipeline: ["Pipeline", Pipeline] };
const LOST_SECONDS = 5;
const AGAIN_MS = 2000;
const main = document.getElementById("main");
const told = document.getElementById("state");
let definitions, shown, shownName, unfollow, last, lostAt;
// Which refresh began last, and which of those that nothing has overtaken ended last.
let turn = 0;
let done = 0;

async function start() {
  theme(localStorage.getItem("nextreel-theme") ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));
  document.getElementById("theme").addEventListener("click", () => {
    theme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
    if (shown) refresh();
  });
  while (!definitions) {
    try {
      definitions = await get("v1/insight/definitions");
    } catch (error) {
      trouble(error);
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }
  read(Object.keys(definitions.dimensions));
  onChange(show);
  // A browser allows six connections to a server, so that a page that nobody sees must not hold one.
  document.addEventListener("visibilitychange", listen);
  addEventListener("popstate", () => {
    read(Object.keys(definitions.dimensions));
    show();
  });
  show();
}

function theme(name) {
  document.documentElement.dataset.theme = name;
  localStorage.setItem("nextreel-theme", name);
}

function show() {
  const names = { foryou: "For you", ...Object.fromEntries(definitions.views.map((v) => [v.name, v.title])), pipeline: "Pipeline" };
  if (!Object.hasOwn(names, state.view)) state.view = "foryou";
  document.title = `${names[state.view]} · nextreel`;
  tabs(names);
  const place = document.getElementById("filters");
  const own = Object.hasOwn(OWN, state.view) && OWN[state.view][1];
  if (own) place.replaceChildren();
  else filters.show(place, definitions.dimensions);
  if (shownName !== state.view) {
    shown?.close();
    shownName = state.view;
    shown = own ? new own(main) : new View(main, definitions.views.find((v) => v.name === state.view), definitions);
    listen();
  }
  refresh();
}

function listen() {
  unfollow?.();
  unfollow = last = undefined;
  if (document.hidden) return;
  unfollow = follow(`v1/insight/changes${shownName === "pipeline" ? "?pipeline=true" : ""}`, heard, lost);
}

// The links stay the same ones, so that whoever uses the keyboard stays where they are.
function tabs(names) {
  const place = document.getElementById("views");
  if (!place.children.length) place.append(...Object.entries(names).map(([name, title]) => tab(name, title)));
  for (const link of place.querySelectorAll("a")) {
    link.href = address({ view: link.dataset.view });
    if (link.dataset.view !== state.view) link.removeAttribute("aria-current");
    else if (!link.hasAttribute("aria-current")) {
      link.setAttribute("aria-current", "page");
      link.scrollIntoView({ inline: "nearest", block: "nearest" }); // on a phone the last ones are out of sight
    }
  }
}

function tab(name, title) {
  const link = el("a", { "data-view": name }, title);
  link.addEventListener("click", (event) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    go({ view: name });
  });
  return el("li", {}, link);
}

async function refresh() {
  const asked = shown;
  const own = ++turn;
  const isLast = () => own === turn && asked === shown; // else whoever came since goes on
  try {
    await asked.refresh();
    if (!isLast()) return;
    done = own;
    main.querySelector(".banner.trouble")?.remove();
    if (last && asked instanceof View && asked.isOlder(last)) refresh(); // the answer was overtaken
  } catch (error) {
    if (!isLast()) return;
    done = own;
    trouble(error);
    setTimeout(() => isLast() && refresh(), AGAIN_MS);
  }
}

function trouble(error) {
  main.querySelector(".banner.trouble")?.remove();
  main.prepend(el("p", { class: "banner trouble", role: "alert" }, error.message));
}

function heard(name, data) {
  lostAt = undefined;
  if (name === "pipeline") {
    shown.show?.(data);
    tell("live", "live");
    return;
  }
  if (data.trouble) tell("stale", "the figures are stale");
  else tell("live", data.loaded ? "live" : "warming up");
  last = data;
  // One under way looks itself, when it ends, whether it is older than this.
  if (shown instanceof View && done === turn && shown.isOther(data)) refresh();
}

function lost() {
  last = undefined;
  lostAt ??= Date.now();
  tell("stale", Date.now() - lostAt > LOST_SECONDS * 1000 ? "the server does not answer: figures are stale" : "connecting again");
}

function tell(kind, text) {
  if (told.className === kind && told.textContent === text) return;
  told.className = kind;
  told.textContent = text;
}

start();
