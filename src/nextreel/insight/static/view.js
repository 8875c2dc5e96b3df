// A view of charts: each with its table and its download; a click on any mark filters the rest.

import { get, raw } from "./api.js";
import { draw, drawable, forget } from "./chart.js";
import { el, say } from "./dom.js";
import { learn } from "./filters.js";
import { asText, called, figure } from "./format.js";
import { filterQuery, isChosen, state, toggle } from "./state.js";

const FILTER_NAMES = { time: "time", stars: "stars" };

export class View {
  constructor(place, definition, definitions) {
    this.place = place;
    this.definition = definition;
    this.definitions = definitions;
    this.cards = new Map();
    delete this.place.dataset.query;
    this.place.replaceChildren(this.#frame());
  }

  // Ask for the figures and show them, first of the charts that can be seen; a later question overtakes an earlier one.
  async refresh() {
    this.asking?.abort();
    const { signal } = (this.asking = new AbortController());
    const [near, far] = this.#byNearness();
    const query = filterQuery().toString();
    try {
      const answer = await this.#ask(near, query, signal);
      this.drawn = answer;
      for (const chart of near) this.#fill(chart, answer.charts[chart.name], answer.loaded);
      Object.assign(this.place.dataset, { revision: answer.revision, drawn: String(!far.length), query });
      if (!far.length) return;
      const later = await this.#ask(far, query, signal);
      this.#soon(far, (chart) => this.#fill(chart, later.charts[chart.name], later.loaded));
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }

  // Whether the server has other figures than those that are shown: newer ones, or those of its next life.
  isOther({ revision, loaded }) {
    return this.drawn !== undefined && (this.drawn.revision !== revision || this.drawn.loaded !== loaded);
  }

  // Whether those that are shown are older than what the server has told of before.
  isOlder({ revision, loaded }) {
    return this.drawn !== undefined && (this.drawn.revision < revision || (loaded && !this.drawn.loaded));
  }

  async #ask(charts, query, signal) {
    const wanted = new URLSearchParams(query);
    for (const { name } of charts) wanted.append("chart", name);
    const answer = await get(`v1/insight/views/${this.definition.name}?${wanted}`, signal);
    signal.throwIfAborted();
    return answer;
  }

  // The charts that can be seen, and those that cannot.
  #byNearness() {
    const isNear = ({ name, kind }) => {
      if (kind === "figure") return true;
      const { top, bottom } = this.cards.get(name).table.closest(".card").getBoundingClientRect();
      return bottom > 0 && top < innerHeight;
    };
    const near = new Set(this.definition.charts.filter(isNear));
    return [[...near], this.definition.charts.filter((chart) => !near.has(chart))];
  }

  // Do something with charts one after the other, without keeping the page from answering; what comes later overtakes it.
  #soon(charts, draw) {
    const own = (this.turn = (this.turn ?? 0) + 1);
    const step = ([first, ...rest]) => {
      if (own !== this.turn) return;
      if (!first) {
        this.place.dataset.drawn = "true";
        return;
      }
      draw(first);
      setTimeout(() => step(rest));
    };
    setTimeout(() => step(charts));
  }

  close() {
    this.asking?.abort();
    this.turn = -1;
    for (const { plot } of this.cards.values()) if (plot) forget(plot);
  }

  #frame() {
    const figures = el("div", { class: "figures" });
    const cards = el("div", { class: "cards" }, figures);
    for (const chart of this.definition.charts) {
      if (chart.kind === "figure") figures.append(this.#figure(chart));
      else cards.append(this.#card(chart));
    }
    const title = el("div", { class: "title" }, el("h2", {}, this.definition.title), el("p", { class: "quiet" }, this.definition.doc));
    return el("div", {}, title, cards);
  }

  #figure(chart) {
    const value = el("strong", { "data-chart": chart.name }, "…");
    const doc = this.definitions.metrics[chart.metrics[0]].doc;
    const unheld = el("span", { class: "unheld", hidden: true });
    this.cards.set(chart.name, { value, unheld });
    return el("section", { class: "figure", title: doc }, el("h3", {}, chart.title), value, unheld);
  }

  #card(chart) {
    const plot = chart.kind === "table" ? null : el("div", { class: chart.kind === "cohorts" ? "plot tall" : "plot", role: "img", "aria-label": chart.title });
    const empty = el("p", { class: "empty" }, "…");
    const unheld = el("span", { class: "unheld", hidden: true });
    const table = el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `${chart.title}, as a table` });
    const details = plot ? el("details", { ontoggle: () => this.#fillTable(chart) }, el("summary", {}, "Table"), table) : table;
    const download = el("button", { class: "link", type: "button", onclick: () => this.#download(chart) }, "CSV");
    download.setAttribute("aria-label", `Download ${chart.title} as CSV`);
    this.cards.set(chart.name, { plot, empty, unheld, table, details });
    return el(
      "section", { class: chart.wide ? "card wide" : "card", "data-chart": chart.name },
      el("h3", {}, chart.title), chart.note && el("p", { class: "note" }, chart.note), unheld, plot, empty,
      plot ? el("div", { class: "tools" }, details, download) : table,
      !plot && el("div", { class: "tools" }, el("span"), download),
    );
  }

  #fill(chart, data, loaded) {
    const card = this.cards.get(chart.name);
    learn(data.labels);
    card.data = data;
    this.#tellUnheld(card.unheld, chart, data);
    if (chart.kind === "figure") {
      card.value.textContent = figure(data.rows[0]?.[0], this.definitions.metrics[chart.metrics[0]].unit);
      return;
    }
    const isEmpty = !drawable(chart, data).length;
    card.empty.hidden = !isEmpty;
    card.empty.textContent = data.trouble ?? (loaded ? this.#nothing() : "Warming up: the lake is being read.");
    if (card.plot) {
      card.plot.hidden = isEmpty;
      if (!isEmpty) draw(card.plot, chart, data, this.definitions.metrics, (values) => values.forEach(([by, value]) => this.#choose(by, value)));
    }
    this.#fillTable(chart);
  }

  #nothing() {
    const any = filterQuery().toString();
    return any ? "Nothing is left by these filters." : "There is nothing to show yet.";
  }

  // Which of the filters do not hold for a chart, because what it counts does not know them.
  #tellUnheld(place, chart, data) {
    const set = [...Object.keys(state.filters), ...(state.ranges.since || state.ranges.until ? ["time"] : [])];
    if (state.ranges.min_rating || state.ranges.max_rating) set.push("stars");
    const missing = set.filter((name) => !data.holds.includes(name) && !chart.by.includes(name));
    place.hidden = !missing.length;
    const names = missing.map((name) => FILTER_NAMES[name] ?? this.definitions.dimensions[name].title.toLowerCase());
    place.textContent = `not filtered by ${names.join(", ")}`;
  }

  #choose(by, value) {
    toggle(by, value);
    say(`${this.definitions.dimensions[by].title}: ${value || "unknown"} ${isChosen(by, value) ? "chosen" : "no longer chosen"}`);
  }

  #fillTable(chart) {
    const { table, details, data } = this.cards.get(chart.name);
    if (!data || (details !== table && !details.open)) return;
    const { metrics, dimensions } = this.definitions;
    const head = [
      ...chart.by.map((by) => el("th", { scope: "col" }, dimensions[by].title)),
      ...chart.metrics.map((m) => el("th", { scope: "col", class: "number", title: metrics[m].doc }, metrics[m].title)),
    ];
    const cell = (by, value) => {
      const pressed = isChosen(by, asText(value));
      const button = el("button", { type: "button", "aria-pressed": String(pressed), "data-value": `${by} ${asText(value)}`, onclick: () => this.#choose(by, asText(value)) }, called(by, value, data.labels));
      return el("td", {}, button);
    };
    const rows = data.rows.map((row) =>
      el("tr", {},
        ...chart.by.map((by, n) => cell(by, row[n])),
        ...chart.metrics.map((m, n) => el("td", { class: "number" }, figure(row[chart.by.length + n], metrics[m].unit)))),
    );
    const focused = table.contains(document.activeElement) ? document.activeElement.dataset.value : undefined;
    table.replaceChildren(el("table", {}, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...rows)));
    if (focused !== undefined) [...table.querySelectorAll("button")].find((each) => each.dataset.value === focused)?.focus();
  }

  async #download(chart) {
    const query = filterQuery();
    for (const by of chart.by) query.delete(by);
    for (const [name, values] of Object.entries(chart.always)) {
      query.delete(name);
      for (const value of values) query.append(name, value);
    }
    for (const name of chart.metrics) query.append("metric", name);
    for (const name of chart.by) query.append("by", name);
    query.set("limit", chart.limit);
    query.set("format", "csv");
    const file = await (await raw(`v1/insight/figures?${query}`)).blob();
    const link = el("a", { href: URL.createObjectURL(file), download: `${chart.name}.csv` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // the browser may read it after this
  }
}
