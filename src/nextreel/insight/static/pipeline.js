// How the stream does: rates, lag, latency, quarantine, files, the five Vs; every second, as the server tells it.

import { get } from "./api.js";
import { isDark } from "./chart.js";
import { el } from "./dom.js";
import { ago, bytes, figure } from "./format.js";

const CHARTS = [
  ["rates", "Messages a second", "by micro-batch: how many came, and how many it would have taken", [["came", "input_rows_per_second"], ["speed", "processed_rows_per_second"]]],
  ["latency", "Seconds from Kafka to the lake", "of the newest message of each micro-batch", [["end to end", "newest_age_seconds"]]],
  ["durations", "Seconds a micro-batch takes", "", [["seconds", "seconds"]]],
  ["lag", "Kafka lag, messages", "after each micro-batch", [["users", "lag_users"], ["movies", "lag_movies"], ["series", "lag_series"], ["interactions", "lag_interactions"]]],
];
const IDLE_MS = 10_000;
const VS = ["volume", "velocity", "variety", "veracity", "value"];

export class Pipeline {
  constructor(place) {
    this.place = place;
    this.figures = el("div", { class: "figures" });
    this.plots = new Map();
    const cards = CHARTS.map(([name, title, note]) => {
      const plot = el("div", { class: "plot", role: "img", "aria-label": title });
      const none = el("p", { class: "empty", hidden: true }, "No micro-batch of the last quarter of an hour is recorded; new ones appear within a minute.");
      this.plots.set(name, { plot, none });
      return el("section", { class: "card half", "data-chart": name }, el("h3", {}, title), note && el("p", { class: "note" }, note), plot, none);
    });
    this.tables = Object.fromEntries(["parts", "quarantine", "lake", "vs"].map((name) => [name, el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": name })]));
    this.banner = el("p", { class: "banner", hidden: true });
    this.place.replaceChildren(
      el("div", { class: "title" }, el("h2", {}, "Pipeline"), el("p", { class: "quiet" }, "How the stream does, now.")), this.banner,
      el("div", { class: "cards" }, this.figures, ...cards,
        this.#card("Quarantine", "by reason, with the newest messages", this.tables.quarantine, true),
        this.#card("The lake", "files and sizes", this.tables.lake, false),
        this.#card("Five Vs", "measured on this lake", this.tables.vs, true),
        this.#card("Processes", "kept running by nextreel up", this.tables.parts, false)),
    );
  }

  #card(title, note, table, wide) {
    return el("section", { class: wide ? "card wide" : "card" }, el("h3", {}, title), el("p", { class: "note" }, note), table);
  }

  async refresh() {
    this.show(await get("v1/insight/pipeline"));
  }

  close() {
    for (const { plot } of this.plots.values()) echarts.getInstanceByDom(plot)?.dispose();
  }

  show({ status, rows, batches, quarantine, five_vs }) {
    const lag = status.lag && Object.values(status.lag).reduce((sum, n) => sum + n, 0);
    const last = batches.at(-1);
    const age = status.last_commit_at ? (Date.parse(status.at) - Date.parse(status.last_commit_at)) / 1000 : null;
    const running = status.ingest_process !== null;
    this.banner.hidden = running && !status.kafka_error;
    this.banner.textContent = status.kafka_error || (running ? "" : "No ingest is running: nothing new comes into the lake.");
    const told = [
      ["Rows in the lake", figure(rows, "count")], ["Last commit", age === null ? "–" : `${ago(age)} ago`], ["Kafka lag", figure(lag, "count")],
      ["Quarantined", figure(status.quarantine_all.quarantined, "count")], ["Newest batch", last ? `${last.seconds?.toFixed(2) ?? "–"} s` : "–"],
      ["Kafka to lake", last ? ago(last.newest_age_seconds) : "–"],
    ];
    this.figures.replaceChildren(...told.map(([title, value]) => el("section", { class: "figure" }, el("h3", {}, title), el("strong", {}, value))));
    for (const [name, , , series] of CHARTS) this.#plot(name, series, batches);
    fill(this.tables.quarantine, ["Reason", "Messages", "Examples"], (quarantine ?? []).map((each) => [
      el("div", {}, el("b", {}, each.reason), el("p", { class: "note" }, `${each.means}. ${each.remedy.charAt(0).toUpperCase()}${each.remedy.slice(1)}.`)),
      number(figure(each.messages, "count")), el("div", {}, ...each.examples.map((e) => el("pre", { title: e.place }, `${e.detail}: ${e.start}`))),
    ]), "Nothing is in quarantine.");
    fill(this.tables.lake, ["Table", "Rows", "Files", "Size"], status.tables.map((t) => [
      t.table, number(figure(t.rows, "count")), number(figure(t.files, "count")), number(bytes(t.bytes)),
    ]), "There is no lake yet.");
    fill(this.tables.vs, ["V", "Figure", "Value", "From"], VS.flatMap((v) => (five_vs?.[v] ?? []).map((f) => [v, f.name, f.text, f.source])), "");
    fill(this.tables.parts, ["Process", "Id", "Restarts"], status.up.map((p) => [p.name, number(p.pid ?? "starts again"), number(p.restarts)]), "nextreel up does not run here.");
  }

  #plot(name, wanted, batches) {
    const { plot, none } = this.plots.get(name);
    none.hidden = batches.length > 0;
    plot.hidden = !batches.length;
    if (!batches.length) return;
    const css = (value) => getComputedStyle(document.documentElement).getPropertyValue(value).trim();
    let drawn = echarts.getInstanceByDom(plot);
    if (!drawn || drawn.isDarkNow !== isDark()) {
      drawn?.dispose();
      drawn = echarts.init(plot);
      drawn.isDarkNow = isDark();
      new ResizeObserver(() => drawn.isDisposed() || drawn.resize()).observe(plot);
    }
    const text = { color: css("--quiet"), fontSize: 12 };
    drawn.setOption({
      animation: false, color: isDark() ? ["#a593ff", "#ff9d5c", "#4fd1bd", "#f08bd0"] : ["#5b3df5", "#c8500a", "#00796b", "#b3348c"],
      grid: { left: 8, right: 20, top: wanted.length > 1 ? 32 : 14, bottom: 8, containLabel: true },
      legend: wanted.length > 1 ? { top: 0, textStyle: text } : { show: false },
      tooltip: { trigger: "axis", renderMode: "richText", confine: true, backgroundColor: css("--card"), textStyle: { color: css("--text") } },
      xAxis: { type: "time", ...around(batches), axisLabel: { ...text, hideOverlap: true }, splitLine: { show: false } },
      yAxis: { type: "value", minInterval: name === "lag" ? 1 : 0, axisLabel: { ...text, hideOverlap: true }, splitLine: { lineStyle: { color: css("--line") } }, splitNumber: 4 },
      series: wanted.map(([label, column]) => ({ id: column, name: label, type: "line", showSymbol: batches.length < 3, data: points(batches, column) })),
    });
  }
}

// A line ends where nothing came for a while, and begins anew.
function points(batches, column) {
  const at = batches.map((batch) => Date.parse(batch.committed_at));
  return batches.flatMap((batch, n) => {
    const point = [at[n], batch[column]];
    return n && at[n] - at[n - 1] > IDLE_MS ? [[(at[n] + at[n - 1]) / 2, null], point] : [point];
  });
}

// The time that micro-batches are from, and half a minute at either end: one alone would be told as a day.
function around(batches) {
  const [first, last] = [batches[0], batches.at(-1)].map((each) => Date.parse(each.committed_at));
  return { min: first - 30_000, max: last + 30_000 };
}

const number = (text) => {
  const cell = el("td", { class: "number" }, String(text));
  return cell;
};

function fill(place, head, rows, none) {
  if (!rows.length) {
    place.replaceChildren(el("p", { class: "empty" }, none));
    return;
  }
  const open = place.scrollTop;
  const cells = (row) => row.map((cell) => (cell instanceof HTMLTableCellElement ? cell : el("td", {}, cell)));
  place.replaceChildren(el("table", {},
    el("thead", {}, el("tr", {}, ...head.map((each, n) => el("th", { scope: "col", class: rows[0][n]?.className ?? "" }, each)))),
    el("tbody", {}, ...rows.map((row) => el("tr", {}, ...cells(row))))));
  place.scrollTop = open;
}
