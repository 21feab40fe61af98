"use strict";
// The table, the filters and the theme; draw.js draws the figures.
// Text from records is only ever set as text, never as HTML.

const DATA = JSON.parse(document.getElementById("data").textContent);
const element = id => document.getElementById(id);

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") node.className = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

const points = (value, digits = 1) => (value === null ? "" : (100 * value).toFixed(digits));
const signed = value => (value === null ? "" : (value < 0 ? "\u2212" : "+") + Math.abs(100 * value).toFixed(1));
const times = value => (value === null ? "" : value.toFixed(value < 9.95 ? 1 : 0) + "\u00d7");
const whole = value => (value === null ? "" : Math.round(value).toLocaleString("en-US"));
const mean = row => points(row.test) + (row.spread === null ? "" : " \u00b1 " + points(row.spread));

function gap(difference, low, high) {
  if (difference === null || difference === undefined) return "";
  const text = signed(difference) + (low === null ? "" : ` [${signed(low)}, ${signed(high)}]`);
  const side = low === null ? "" : low > 0 ? "better" : high < 0 ? "worse" : "";
  if (!side) return text;
  const mark = make("span", { "aria-hidden": "true" }, side === "better" ? "\u25b2 " : "\u25bc ");
  return make("span", { class: side }, mark, text);
}

const some = key => DATA.rows.some(row => row[key] !== null && row[key] !== "");
const COLUMNS = [
  { key: "dataset", title: "Dataset" },
  { key: "backbone", title: "Backbone" },
  { key: "method", title: "Method" },
  { key: "control", title: "Control", use: some("control") },
  { key: "scorer", title: "Scorer", use: some("scorer") },
  { key: "track", title: "Teacher", show: row => TEACHER[row.track] ?? row.track },
  { key: "level", title: "Level", number: true },
  { key: "graph", title: "Edges removed, %", number: true, show: row => points(row.graph) },
  { key: "weight", title: "Weights removed, %", number: true, show: row => points(row.weight) },
  { key: "test", title: "Test, %", number: true, show: mean },
  { key: "difference", title: "\u2212 dense", number: true, show: row => gap(row.difference, row.low, row.high) }, {
    key: "best",
    title: "\u2212 best control",
    number: true,
    use: some("best"),
    value: row => row.best?.difference ?? null,
    show: row => (row.best ? gap(row.best.difference, row.best.low, row.best.high) : ""),
    tip: row => row.best?.name
  },
  { key: "seeds", title: "Seeds", number: true, show: row => row.seeds + (row.failed ? ` (${row.failed} failed)` :
      "") },
  { key: "val", title: "Validation, %", number: true, show: row => points(row.val) },
  { key: "last", title: "Last epoch, %", number: true, show: row => points(row.last), use: some("last") },
  { key: "search_x", title: "Search, \u00d7 dense", number: true, show: row => times(row.search_x) },
  { key: "params", title: "Parameters", number: true, show: row => whole(row.params) },
  { key: "macs", title: "MACs", number: true, use: some("macs"), show: row => whole(row.macs) }, {
    key: "latency_ms",
    title: "Latency, ms",
    number: true,
    use: some("latency_ms"),
    show: row => (row.latency_ms === null ? "" : row.latency_ms.toPrecision(3))
  }, {
    key: "options",
    title: "Options",
    wide: true,
    use: DATA.rows.some(row => row.options.length),
    value: row => row.options.join(", ") || null,
    tip: row => row.options.join(", ")
  },
].filter(column => column.use !== false);
const FILTERS = ["dataset", "backbone", "method", "scorer", "track", "level"];
const TEACHER = { all: "all nodes", held_out: "held-out", none: "none" };

const state = { sort: null, down: false, text: "", controls: true, picked: {} };

function value(row, column) {
  const found = column.value ? column.value(row) : row[column.key];
  return found === undefined || found === "" ? null : found;
}

/** The rows that the filters leave, in the order of the table. */
function shown() {
  const words = state.text.toLowerCase().split(/\s+/).filter(Boolean);
  const rows = DATA.rows.filter(row => {
    if (row.kind === "control" && !state.controls) return false;
    for (const [key, wanted] of Object.entries(state.picked)) {
      if (row.kind === "dense" && !["dataset", "backbone"].includes(key))
    continue; // what all others are measured by
      if (wanted && String(row[key]) !== wanted) return false;
    }
    const text = [row.dataset, row.backbone, row.method, row.control, row.scorer, row.track, ...row.options].join(
      " ").toLowerCase();
    return words.every(word => text.includes(word));
  });
  const column = COLUMNS.find(column => column.key === state.sort);
  if (!column) return rows;
  const sign = state.down ? -1 : 1;
  return rows.sort((a, b) => {
    const [one, other] = [value(a, column), value(b, column)];
    if (one === null || other === null) return (one === null) - (other === null); // what is unknown comes last
    return sign * (column.number ? one - other : String(one).localeCompare(String(other)));
  });
}

function drawHead() {
  const row = element("table").tHead.rows[0];
  for (const column of COLUMNS) {
    const sort = () => {
      state.down = state.sort === column.key ? !state.down : Boolean(column.number && column.key !== "level");
      state.sort = column.key;
      drawTable();
    };
    const button = make("button", { type: "button", onclick: sort }, column.title);
    row.append(make("th", { scope: "col", class: column.number ? "number" : "", "data-key": column.key }, button));
  }
}

function drawTable() {
  const rows = shown();
  const body = make("tbody");
  for (const row of rows) {
    const line = make("tr", { class: row.kind });
    for (const column of COLUMNS) {
      const cell = make("td", { class: column.wide ? "wide" : column.number ? "number" : "" });
      const content = column.show ? column.show(row) : value(row, column);
      cell.append(content === null ? "" : content);
      const tip = column.tip?.(row);
      if (tip) cell.title = tip;
      line.append(cell);
    }
    body.append(line);
  }
  if (!rows.length) body.append(make("tr", {}, make("td", { colspan: COLUMNS.length },
    "No row is left by the filters.")));
  element("table").tBodies[0].replaceWith(body);
  for (const head of element("table").tHead.rows[0].cells) {
    if (head.dataset.key !== state.sort) head.removeAttribute("aria-sort");
    else head.setAttribute("aria-sort", state.down ? "descending" : "ascending");
  }
  element("status").textContent = `${rows.length} of ${DATA.rows.length} rows`;
}

let waiting = 0;

function update() {
  drawTable();
  clearTimeout(waiting);
  waiting = setTimeout(() => drawFigures(shown()), 100); // not at every key
}

function drawFilters() {
  const form = element("filters");
  for (const key of FILTERS) {
    const column = COLUMNS.find(column => column.key === key);
    const values = [...new Set(DATA.rows.filter(row => row.kind !== "dense").map(row => row[key]))].filter(v => v !==
      "" && v !== null);
    if (key === "dataset" || key === "backbone") DATA.rows.forEach(row => values.includes(row[key]) || values.push(
      row[key]));
    if (!column || values.length < 2) continue;
    values.sort((a, b) => (column.number ? a - b : String(a).localeCompare(String(b))));
    const select = make("select", { name: key, onchange: () => { state.picked[key] = select.value;
        update(); } });
    select.append(make("option", { value: "" }, "all"));
    for (const each of values) select.append(make("option", { value: each }, (key === "track" && TEACHER[each]) ||
      String(each)));
    form.append(make("label", {}, column.title, select));
  }
  const text = make("input", {
    type: "search",
    name: "text",
    autocomplete: "off",
    spellcheck: "false",
    oninput: () => { state.text = text.value;
      update(); }
  });
  form.append(make("label", {}, "Search", text));
  if (DATA.rows.some(row => row.kind === "control")) {
    const box = make("input", {
      type: "checkbox",
      name: "controls",
      checked: "",
      onchange: () => { state.controls = box.checked;
        update(); }
    });
    form.append(make("label", { class: "check" }, box, "Controls"));
  }
  form.append(make("button", { type: "reset" }, "Reset"));
  form.addEventListener("submit", event => event.preventDefault());
  form.addEventListener("reset", () => {
    Object.assign(state, { sort: null, down: false, text: "", controls: true, picked: {} });
    setTimeout(update);
  });
}

function drawTiles() {
  const count = key => new Set(DATA.rows.filter(row => row.kind === "ticket").map(row => row[key])).size;
  const seeds = [...new Set(DATA.rows.map(row => row.seeds))].sort((a, b) => a - b);
  const tiles = {
    Datasets: count("dataset"),
    Backbones: count("backbone"),
    Methods: count("method"),
    Experiments: count("experiment"),
    "Seeds a row": seeds.length > 1 ? `${seeds[0]} to ${seeds.at(-1)}` : seeds[0],
    Records: whole(DATA.records)
  };
  for (const [name, text] of Object.entries(tiles)) {
    element("tiles").append(make("div", {}, make("dt", {}, name), make("dd", {}, String(text))));
  }
}

function drawVerdicts() {
  const list = element("sentences");
  for (const [about, sentence] of DATA.verdicts) {
    list.append(make("div", {}, make("dt", {}, about), make("dd", {}, sentence)));
  }
  if (!DATA.verdicts.length) list.replaceWith(make("p", { class: "why" },
    "No controls recorded: run glt controls on the tickets."));
}

function drawSources() {
  const said = (name, values) => values?.length && element("sources").append(make("p", {},
    `${name}: ${values.join(", ")}`));
  const made = DATA.made;
  said("Records", Object.entries(DATA.files).map(([file, count]) => `${file} (${count})`));
  said("Made on", made.records_device);
  said("With", [
      ["glt", "glt"],
      ["torch", "torch"],
      ["PyG", "pyg"],
      ["Python", "python"],
      ["commit", "commit"]
    ]
    .filter(([, key]) => made[`records_${key}`]?.length).map(([name, key]) =>
      `${name} ${made[`records_${key}`].join(", ")}`));
  if (DATA.passed_over) said("Passed over", [`${DATA.passed_over} lines that are no records of a point`]);
  said("This page", [`glt report ${made.glt}; figures by plotly.js ${Plotly.version} (MIT licence)`]);
}

function download(name, type, text) {
  const link = make("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

const RAW = ["kind", "dataset", "backbone", "method", "control", "scorer", "track", "options", "level", "graph",
  "weight", "metric",
  "seeds", "failed", "val", "test", "spread", "last", "difference", "low", "high", "search_x", "seconds_x",
  "search_s",
  "search_epochs", "params", "macs", "macs_dense", "latency_ms", "latency_dense_ms", "ticket_bytes", "peak_mb",
  "avg_degree", "isolated"
];

/** One cell; text that a spreadsheet would take for a formula is quoted by an apostrophe. */
function csvCell(value) {
  if (value === null || value === undefined) return "";
  const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? "'" + value : String(value);
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

const csv = rows => [RAW, ...rows.map(row => RAW.map(key => (key === "options" ? row.options.join(", ") : row[key])))]
  .map(line => line.map(csvCell).join(",")).join("\n") + "\n";

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  showTheme();
}

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function showTheme() {
  element("theme").setAttribute("aria-pressed", String(isDark()));
  drawFigures(shown());
}

drawTiles();
drawHead();
drawFilters();
drawVerdicts();
drawSources();
element("csv").addEventListener("click", () => download("glt.csv", "text/csv", csv(shown())));
element("json").addEventListener("click", () => download("glt.json", "application/json", JSON.stringify(shown(), null,
  1)));
element("theme").addEventListener("click", () => setTheme(isDark() ? "light" : "dark"));
element("setting").addEventListener("change", () => drawFigures(shown()));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showTheme);
drawTable();
showTheme();
