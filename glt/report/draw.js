"use strict";
// Every figure in its frame, with its menus and downloads.

const FIGURES = [curves, heat, cost, search, layers, degrees, subgraph];
const chosen = {};

/** Draw all figures of the rows. */
function drawFigures(rows) {
  readLook();
  const settings = new Map();
  for (const row of rows) {
    const key = JSON.stringify([row.dataset, row.backbone]);
    settings.set(key, (settings.get(key) ?? 0) + (row.kind === "ticket"));
  }
  const select = element("setting");
  const fill = [...settings].map(([key]) => [key, JSON.parse(key).join(", ")]);
  const most = [...settings].reduce((best, each) => (best && best[1] >= each[1] ? best : each), null);
  const setting = options(select, fill, select.value || most?.[0]);
  const here = rows.filter(row => JSON.stringify([row.dataset, row.backbone]) === setting);
  for (const figure of FIGURES) drawFigure(figure, here);
}

/** Fill a menu and return its choice: ``wanted`` if it is there, else the first. */
function options(select, pairs, wanted) {
  select.replaceChildren(...pairs.map(([value, text]) => make("option", { value }, text)));
  const there = pairs.some(([value]) => value === wanted);
  if (pairs.length) select.value = there ? wanted : pairs[0][0];
  return pairs.length ? select.value : undefined;
}

function drawFigure(figure, rows) {
  const { node, menus, plot, why, caption } = (figure.parts ??= frame(figure));
  const used = new Set();
  const choose = (label, pairs, first) => {
    const id = `${figure.id}-${label}`;
    used.add(id);
    let menu = menus.querySelector(`select[name="${id}"]`);
    if (!menu) {
      menu = make("select", { name: id, onchange: () => { chosen[id] = menu.value;
          drawFigures(shown()); } });
      menus.append(make("label", {}, label, menu));
    }
    const picked = options(menu, pairs, chosen[id] ?? first);
    menu.parentNode.hidden = pairs.length < 2;
    return picked;
  };
  const made = figure.draw(rows, choose);
  for (const menu of menus.querySelectorAll("select"))
    if (!used.has(menu.name)) menu.parentNode.hidden = true;
  node.classList.toggle("empty", Boolean(made.why));
  why.hidden = !made.why;
  plot.hidden = caption.hidden = Boolean(made.why);
  why.textContent = made.why ?? "";
  if (made.why) {
    Plotly.purge(plot);
    return;
  }
  caption.firstChild.textContent = made.caption;
  plot.setAttribute("aria-label", `${figure.title}. ${made.label}`);
  plot.style.height = `${made.height}px`;
  Plotly.react(plot, made.traces, { ...baseLayout(made.height), ...made.layout }, {
    responsive: true,
    displaylogo: false,
    displayModeBar: matchMedia("(pointer: coarse)").matches ? false : "hover",
    modeBarButtons: [
      ["toImage"],
      ["zoom2d", "pan2d"],
      ["zoomIn2d", "zoomOut2d", "resetScale2d"]
    ],
    toImageButtonOptions: { format: "svg", filename: `glt-${figure.id}` },
  });
}

function frame(figure) {
  const title = make("h3", { id: `${figure.id}-title` }, figure.title);
  const menus = make("div", { class: "head" }, title);
  const plot = make("div", { class: "plot", id: figure.id, role: "img" });
  const why = make("p", { class: "why" });
  const save = format => make("button", {
      type: "button",
      "aria-label": `Download "${figure.title}" as ${format.toUpperCase()}`,
      onclick: () => Plotly.downloadImage(plot, { format, filename: `glt-${figure.id}`, width: 1000, height: Math
          .max(500, plot.clientHeight), scale: format === "png" ? 2 : 1 })
    },
    format.toUpperCase());
  const caption = make("figcaption", {}, make("span"), make("div", {}, save("png"), " ", save("svg")));
  const node = make("figure", { class: figure.broad ? "broad" : "", "aria-labelledby": `${figure.id}-title` }, menus,
    plot, why, caption);
  element("grid").append(node);
  return { node, menus, plot, why, caption };
}
