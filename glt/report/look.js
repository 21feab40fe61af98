"use strict";
// What the figures share: colours, layout, the names of experiments.

const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "cross", "x", "star", "pentagon"];
const DASHES = ["solid", "dash", "dot", "dashdot", "longdash", "longdashdot"];
const MOST_CURVES = 8;
let look = {};

/** Text as plotly is to show it, which reads some HTML. */
const plain = text => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
const percent = value => (value === null ? null : 100 * value);
const places = values => [...new Set(values)];

/** The colours of the theme as plotly reads them. */
function readLook() {
  const probe = document.body.appendChild(document.createElement("span"));
  const colour = name => { probe.style.color = `var(--${name})`; return getComputedStyle(probe).color; };
  const palette = [0, 1, 2, 3, 4, 5, 6, 7].map(i => colour(`c${i}`));
  look = { palette, ...Object.fromEntries(["ink", "soft", "line", "card", "shade"].map(name => [name, colour(
      name)])) };
  probe.remove();
}

const faint = (colour, alpha) => colour.replace(/^rgba?\(([^,]+, [^,]+, [^,)]+).*$/, `rgba($1, ${alpha})`);
const axis = (title, more = {}) => ({
  title: { text: title, standoff: 8 },
  gridcolor: look.line,
  zerolinecolor: look.line,
  linecolor: look.line,
  automargin: true,
  ...more
});

function baseLayout(height) {
  const narrow = element("grid").clientWidth < 560;
  return {
    separators: ".,",
    height,
    paper_bgcolor: look.card,
    plot_bgcolor: look.card,
    hovermode: "closest",
    dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom", // a finger scrolls the page
    font: { family: 'system-ui, "Segoe UI", Roboto, Arial, sans-serif', size: 13, color: look.ink },
    margin: { l: narrow ? 44 : 56, r: 14, t: 14, b: 44 },
    legend: {
      orientation: "h", x: 0, xanchor: "left", yref: "container", y: 0, yanchor: "bottom",
      maxheight: 5000, font: { size: 12 }
    },
    hoverlabel: { bgcolor: look.shade, bordercolor: look.line, font: { color: look.ink }, align: "left" },
    colorway: look.palette,
  };
}

/** Room that a legend below the plot takes, which stands in columns as wide as its longest name. */
function legendHeight(names, broad) {
  const whole = element("grid").clientWidth;
  const width = whole / (broad || whole < 860 ? 1 : 2) - 60;
  const longest = Math.max(...names.flatMap(name => name.split("<br>")).map(line => line.length));
  const rows = Math.ceil(names.length / Math.max(1, Math.floor(width / (60 + 6.6 * longest))));
  return 14 + 21 * rows + 16 * names.reduce((sum, name) => sum + name.split("<br>").length - 1, 0);
}

/** A name in a legend, in lines where the page is narrow. */
const legendName = name => plain(element("grid").clientWidth < 560 ? wrapped(name, 36) : name).replaceAll("\n",
  "<br>");

const said = { all: "teacher on all nodes", held_out: "held-out teacher", none: "no teacher" };
const differs = (rows, key) => new Set(rows.map(row => row[key])).size > 1;

/** Experiments among the rows, each with a name as short as tells it from the others: [{key, name, rows}]. */
function series(rows) {
  const found = new Map();
  for (const row of rows) {
    const key = row.experiment + row.control;
    found.set(key, [...(found.get(key) ?? []), row]);
  }
  const all = [...found.entries()].map(([key, group]) => ({ key, name: nameOf(group[0], rows), rows: group }));
  return all.sort((a, b) => Boolean(a.rows[0].grid) - Boolean(b.rows[0].grid)); // paths before grids
}

function nameOf(row, among) {
  const same = among.filter(other => other.method === row.method);
  const parts = [row.method];
  if (row.scorer && row.scorer !== row.method && differs(same, "scorer")) parts[0] += `, ${row.scorer} edges`;
  if (row.track && differs(among, "track")) parts.push(said[row.track] ?? row.track);
  const twins = same.filter(other => other.scorer === row.scorer && other.track === row.track);
  parts.push(...row.options.filter(option => !twins.every(other => other.options.includes(option))));
  if (row.control) parts.push(row.control);
  return parts.join(", ");
}

const optionsOf = (row, among) =>
  row.options.filter(option => !among.every(other => other.options.includes(option))).join(", ") || "defaults";

const hover = row => plain(`${row.control || (row.level ? `level ${row.level}` : "dense")}: ${mean(row)} %`) +
  plain(`, edges \u2212${points(row.graph)} %, weights \u2212${points(row.weight)} %`) +
  `<br>${row.seeds} seed${row.seeds > 1 ? "s" : ""}` +
  (row.difference === null ? "" : `, ${signed(row.difference)} against dense` +
    (row.low === null ? "" : ` [${signed(row.low)}, ${signed(row.high)}]`));
const metricOf = rows => `Test ${plain(rows[0]?.metric ?? "metric").replaceAll("_", "-")}, %`;
const recorded = (test, never) => (DATA.rows.some(test) ?
  "Nothing recorded for what is selected: change the filters or the dataset." : never);
