// Pictures of figures, each kind of chart of nextreel.insight.views; ECharts draws them.

import { asText, called, figure, short } from "./format.js";
import { state } from "./state.js";

// Told apart by those who see few colours, too (after Okabe and Ito), and of enough contrast on both grounds.
const COLOURS = {
  light: ["#5b3df5", "#c8500a", "#00796b", "#b3348c", "#8a6d00", "#1769c4", "#6b6f80", "#a32020"],
  dark: ["#a593ff", "#ff9d5c", "#4fd1bd", "#f08bd0", "#e5c453", "#74b4ff", "#a5abc0", "#ff9a92"],
};
const SERIES = 8;
const OURS = "nextreel";
const MOST_DAYS = 20_000;
const SEGMENTS = ["new", "light", "medium", "heavy", "all"];
const COHORTS = 18; // that have their names beside them
const calm = matchMedia("(prefers-reduced-motion: reduce)");

export const isDark = () => document.documentElement.dataset.theme === "dark";
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// Draw what `chart` (its definition) says of `data` ({columns, rows, labels}) into a place; `clicked` gets the values.
export function draw(place, chart, data, metrics, clicked) {
  const option = KINDS[chart.kind](chart, data, metrics);
  let drawn = echarts.getInstanceByDom(place);
  if (!drawn || drawn.isDarkNow !== isDark()) {
    drawn?.dispose();
    drawn = echarts.init(place, null, { renderer: "canvas" });
    drawn.isDarkNow = isDark();
    sizes.observe(place);
  }
  drawn.off("click");
  drawn.on("click", (event) => event.data?.values && clicked(event.data.values));
  drawn.setOption({ ...base(), ...option }, { replaceMerge: ["series", "xAxis", "yAxis", "visualMap", "legend"] });
}

export function forget(place) {
  sizes.unobserve(place);
  echarts.getInstanceByDom(place)?.dispose();
}

const sizes = new ResizeObserver((seen) => {
  for (const { target } of seen) echarts.getInstanceByDom(target)?.resize();
});

function base() {
  return {
    color: COLOURS[isDark() ? "dark" : "light"],
    animation: !calm.matches,
    animationDuration: 250,
    animationDurationUpdate: 250,
    textStyle: { color: css("--text"), fontFamily: getComputedStyle(document.body).fontFamily },
    grid: { left: 8, right: 24, top: 16, bottom: 8, containLabel: true },
    tooltip: {
      trigger: "item", renderMode: "richText", confine: true, backgroundColor: css("--card"), borderColor: css("--line"),
      textStyle: { color: css("--text"), fontSize: 13 }, transitionDuration: 0,
    },
  };
}

const oneLine = (text) => text.replace(/\s+/g, " ");
const cut = (text, n = 26) => (Array.from(text).length > n ? `${Array.from(text).slice(0, n - 1).join("")}…` : text);
const axisText = () => ({ color: css("--quiet"), fontSize: 12 });
const lines = () => ({ lineStyle: { color: css("--line") } });

function category(values, more = {}) {
  const axisLabel = { ...axisText(), hideOverlap: true, ...more.axisLabel };
  return { type: "category", data: values.map(oneLine), axisTick: { show: false }, axisLine: lines(), ...more, axisLabel };
}

function amount(unit, more = {}) {
  const axisLabel = { ...axisText(), hideOverlap: true, formatter: (v) => short(v, unit) };
  return { type: "value", axisLabel, splitLine: lines(), splitNumber: 4, ...more };
}

// The rows that a chart has something to draw of.
export function drawable(chart, { rows }) {
  const some = rows.filter((row) => row.slice(chart.by.length).some((value) => value !== null && value !== 0));
  return chart.kind === "cohorts" ? some.filter(([cohort, months]) => cohort !== null && months >= 0) : some;
}

// What is filtered away stays to be seen, and pale.
function opacity(by, row) {
  const chosen = state.filters[by];
  return chosen?.length && !chosen.includes(asText(row)) ? 0.3 : 1;
}

function told(chart, data, metrics) {
  return (row) => {
    const names = chart.by.map((by, n) => called(by, row[n], data.labels));
    const figures = chart.metrics.map((m, n) => `${metrics[m].title}: ${figure(row[chart.by.length + n], metrics[m].unit)}`);
    return [names.join(" · "), ...figures].filter(Boolean).join("\n");
  };
}

function item(chart, row, value, text) {
  const by = chart.by.length ? [[chart.by[0], asText(row[0])]] : [];
  if (chart.by.length > 1) by.push([chart.by[1], asText(row[1])]);
  return { value, values: by, tooltip: { formatter: () => text(row) }, itemStyle: { opacity: by.length ? opacity(...by[0]) : 1 } };
}

function bars(chart, data, metrics) {
  const text = told(chart, data, metrics);
  const unit = metrics[chart.metrics[0]].unit;
  const names = data.rows.map((row) => called(chart.by[0], row[0], data.labels));
  const width = Math.min(170, 14 + 7 * Math.max(...names.map((name) => Array.from(name).length)));
  return {
    xAxis: amount(unit),
    yAxis: category(names, { inverse: true, axisLabel: { interval: 0, width, overflow: "truncate" } }),
    series: [{
      id: "bars", type: "bar", barMaxWidth: 18, data: data.rows.map((row) => item(chart, row, row[1], text)),
      itemStyle: { borderRadius: [0, 4, 4, 0] },
      label: { show: true, position: "right", color: css("--quiet"), fontSize: 11, formatter: (p) => short(p.value, unit) },
    }],
    grid: { left: width + 12, right: 56, top: 4, bottom: 24, containLabel: false },
  };
}

function columns(chart, data, metrics) {
  const text = told(chart, data, metrics);
  return {
    xAxis: category(data.rows.map((row) => called(chart.by[0], row[0], data.labels)), { axisLabel: { width: 90, overflow: "truncate" } }),
    yAxis: amount(metrics[chart.metrics[0]].unit),
    series: [{
      id: "columns", type: "bar", barMaxWidth: 44, itemStyle: { borderRadius: [4, 4, 0, 0] },
      data: data.rows.map((row) => item(chart, row, row[1], text)),
    }],
  };
}

function linesOf(chart, data, metrics) {
  const text = told(chart, data, metrics);
  const places = [...new Map(data.rows.map((row) => [asText(row[0]), row[0]])).values()];
  places.sort((a, b) => (a > b ? 1 : a < b ? -1 : 0));
  const isTime = fillGaps(chart.by[0], places);
  const unit = metrics[chart.metrics[0]].unit;
  const drawn = chart.metrics.map((name, n) => ({ name: metrics[name].title, n })).filter(({ n }) => metrics[chart.metrics[n]].unit === unit);
  const split = chart.by.length > 1 ? seriesOf(data.rows) : drawn;
  const series = split.map(({ name, key, n = 0 }) => {
    const own = new Map(data.rows.filter((row) => key === undefined || asText(row[1]) === key).map((row) => [asText(row[0]), row]));
    return {
      id: name, name: cut(name), type: "line", symbolSize: 7, showSymbol: places.length < 60, connectNulls: !isTime,
      data: places.map((place) => {
        const row = own.get(asText(place));
        const value = row?.[chart.by.length + n] ?? null;
        if (value === null) return { value: isTime && unit === "count" ? 0 : null };
        return { ...item(chart, row, value, text), itemStyle: {} };
      }),
    };
  });
  if (chart.by[0] === "predicted") {
    series.push({ id: "as predicted", name: "as predicted", type: "line", silent: true, showSymbol: false, lineStyle: { type: "dashed" }, data: places });
  }
  return {
    xAxis: category(places.map((place) => called(chart.by[0], place, data.labels)), { boundaryGap: places.length < 3 }),
    yAxis: amount(unit, { scale: ["stars", "score"].includes(unit) }),
    legend: series.length > 1 ? { type: "scroll", top: 0, textStyle: axisText(), pageTextStyle: axisText() } : { show: false },
    grid: { left: 8, right: chart.by[0] === "version" ? 56 : 24, top: series.length > 1 ? 36 : 16, bottom: 8, containLabel: true },
    series,
  };
}

// Put in the days, or months, on which nothing happened, so that equal times are equally long; tell whether it is time.
function fillGaps(by, places) {
  const [form, step] = { date: [10, (at) => at.setUTCDate(at.getUTCDate() + 1)], month: [7, (at) => at.setUTCMonth(at.getUTCMonth() + 1)] }[by] ?? [];
  if (!form) return false;
  const last = places.at(-1);
  const at = new Date(`${places.find((place) => place !== null)}-01`.slice(0, 10));
  if (Number.isNaN(at.getTime()) || (Date.parse(last) - at) / 86_400_000 > MOST_DAYS) return true;
  const unknown = places.filter((place) => place === null);
  places.length = 0;
  places.push(...unknown);
  for (; at.toISOString().slice(0, form) <= last; step(at)) places.push(at.toISOString().slice(0, form));
  return true;
}

// The greatest of what a second dimension tells apart; of recommenders, ours first, so that each has its colour.
function seriesOf(rows) {
  const sums = new Map();
  for (const row of rows) sums.set(asText(row[1]), (sums.get(asText(row[1])) ?? 0) + (row[2] ?? 0));
  const kept = [...sums].filter(([, sum]) => sum > 0).sort((a, b) => b[1] - a[1]).slice(0, SERIES);
  if (sums.has(OURS)) kept.sort(([a], [b]) => (b === OURS) - (a === OURS) || (a < b ? -1 : 1));
  return kept.map(([key]) => ({ name: key || "unknown", key }));
}

function heatmap(chart, data, metrics) {
  const text = told(chart, data, metrics);
  const unit = metrics[chart.metrics[0]].unit;
  const [ys, xs] = [0, 1].map((n) => [...new Set(data.rows.map((row) => row[n]))].sort((a, b) => a - b));
  // One hour may have more than all others, as when a year is replayed: the scale ends where nearly all do.
  const values = data.rows.map((row) => row[2] ?? 0).sort((a, b) => a - b);
  const [most, nearly] = [values.at(-1) ?? 0, values[Math.floor(0.985 * (values.length - 1))] ?? 0];
  const end = most > 3 * nearly && nearly > 0 ? nearly : most;
  return {
    xAxis: category(xs.map((x) => called(chart.by[1], x))),
    yAxis: category(ys.map((y) => called(chart.by[0], y)), { inverse: true }),
    visualMap: scale(end, unit, end < most),
    grid: { left: 8, right: 8, top: 8, bottom: 44, containLabel: true },
    series: [{
      id: "heat", type: "heatmap",
      data: data.rows.map((row) => item(chart, row, [xs.indexOf(row[1]), ys.indexOf(row[0]), row[2]], text)),
    }],
  };
}

function scale(most, unit, isCut = false) {
  return {
    min: 0, max: most || 1, calculable: false, orient: "horizontal", left: "center", bottom: 0, itemHeight: 120, itemWidth: 10,
    text: [`${short(most, unit)}${isCut ? " and more" : ""}`, "0"], textStyle: axisText(),
    inRange: { color: isDark() ? ["#1d2130", "#4b3ca8", "#c9beff"] : ["#f1eefe", "#8f79ff", "#2b1699"] },
  };
}

// Rows are each a whole: what share of a cohort's users were active so many months after they subscribed.
function cohorts(chart, data, metrics) {
  const rows = drawable(chart, data).map(([cohort, months, active]) => [cohort, months, data.wholes[cohort] ? active / data.wholes[cohort] : 0, active]);
  const shown = (row) =>
    `${row[0]}, month ${row[1]}\n${figure(row[2], "share")}: ${row[3]} of ${data.wholes[row[0]]} users`;
  const option = heatmap({ ...chart, metrics: chart.metrics }, { ...data, rows }, metrics);
  option.visualMap = scale(1, "share");
  const ys = [...new Set(rows.map((row) => row[0]))].sort((a, b) => (a > b ? 1 : -1));
  const xs = Array.from({ length: 1 + Math.max(0, ...rows.map((row) => row[1])) }, (_, month) => month);
  option.xAxis = category(xs.map(String), { name: "months", nameLocation: "middle", nameGap: 24, nameTextStyle: axisText() });
  option.yAxis = category(ys, { inverse: true, axisLabel: { interval: Math.ceil(ys.length / COHORTS) - 1 } });
  option.series[0].data = rows.map((row) => ({
    ...item({ ...chart, by: [chart.by[0]] }, row, [xs.indexOf(row[1]), ys.indexOf(row[0]), row[2]], shown),
  }));
  option.grid.bottom = 60;
  return option;
}

function shares(chart, data, metrics) {
  const text = told(chart, data, metrics);
  const whole = data.rows.reduce((sum, row) => sum + (row[1] ?? 0), 0);
  const share = (value) => (whole ? ` ${((100 * value) / whole).toFixed(1)} %` : "");
  return {
    series: [{
      id: "shares", type: "pie", radius: ["38%", "60%"], avoidLabelOverlap: true, minShowLabelAngle: 4,
      label: { color: css("--text"), overflow: "none", alignTo: "edge", edgeDistance: 2, formatter: (p) => `${cut(p.name, 16)}${share(p.value)}` },
      data: data.rows.map((row) => ({ ...item(chart, row, row[1], text), name: called(chart.by[0], row[0], data.labels) })),
    }],
  };
}

function funnel(chart, data, metrics) {
  const first = data.rows[0]?.[0] ?? 0;
  const rows = chart.metrics.map((name, n) => [metrics[name].title, data.rows[0]?.[n] ?? 0]);
  const text = (row) => `${row[0]}: ${figure(row[1], "count")}${first ? ` (${((100 * row[1]) / first).toFixed(1)} %)` : ""}`;
  return {
    xAxis: amount("count"),
    yAxis: category(rows.map((row) => row[0]), { inverse: true }),
    series: [{
      id: "funnel", type: "bar", barMaxWidth: 46, itemStyle: { borderRadius: [0, 6, 6, 0] },
      data: rows.map((row) => ({ value: row[1], tooltip: { formatter: () => text(row) } })),
      label: { show: true, position: "right", color: css("--quiet"), formatter: (p) => text(rows[p.dataIndex]).split(": ")[1] },
    }],
    grid: { left: 8, right: 140, top: 16, bottom: 8, containLabel: true },
  };
}

function intervals(chart, data, metrics) {
  const rows = data.rows.filter((row) => row[1] !== null);
  if (chart.by[0] === "segment") rows.sort((a, b) => SEGMENTS.indexOf(a[0]) - SEGMENTS.indexOf(b[0]));
  const text = (row) =>
    `${called(chart.by[0], row[0])}: ${figure(row[1], "score")}` +
    (row[2] === null ? "" : `\n95 % interval ${figure(row[2], "score")} to ${figure(row[3], "score")}`);
  const whisker = (params, api) => {
    if (Number.isNaN(api.value(1))) return null;
    const [x, low] = api.coord([api.value(0), api.value(1)]);
    const high = api.coord([api.value(0), api.value(2)])[1];
    const line = (x1, y1, x2, y2) => ({ type: "line", shape: { x1, y1, x2, y2 }, style: { stroke: css("--text"), lineWidth: 1.5 } });
    return { type: "group", children: [line(x, low, x, high), line(x - 6, low, x + 6, low), line(x - 6, high, x + 6, high)] };
  };
  return {
    xAxis: category(rows.map((row) => called(chart.by[0], row[0])), { axisLabel: { interval: 0, hideOverlap: false } }),
    yAxis: amount(metrics[chart.metrics[0]].unit),
    series: [
      { id: "values", type: "bar", barMaxWidth: 44, itemStyle: { borderRadius: [4, 4, 0, 0] }, data: rows.map((row) => item(chart, row, row[1], text)) },
      { id: "intervals", type: "custom", silent: true, renderItem: whisker, z: 5, data: rows.map((row, n) => [n, row[2] ?? NaN, row[3] ?? NaN]) },
    ],
  };
}

const KINDS = { bars, columns, lines: linesOf, heatmap, cohorts, shares, funnel, intervals };
