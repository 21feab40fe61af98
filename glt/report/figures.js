"use strict";
// The figures. Each is {id, title, draw}: draw(rows, choose) gives what plotly needs, or {why} there is none.
// choose(label, pairs, first) is a menu of [value, text] pairs beside the title; it returns what is chosen.

const curves = {
  id: "curves",
  title: "Accuracy against sparsity",
  broad: true,
  draw(rows, choose) {
    const [x, at, axisName] = choose("Against", [
        ["graph", "edges removed"],
        ["weight", "weights removed"]
      ]) === "graph" ?
      ["graph", "at_graph", "Edges removed, %"] : ["weight", "at_weight", "Weights removed, %"];
    const all = series(rows.filter(row => row.kind === "ticket"));
    if (!all.length) return { why: recorded(row => row.kind === "ticket",
        "No tickets recorded, only dense trainings: run a strategy.") };
    const traces = [];
    all.forEach((one, i) => addCurve(traces, one, i, x, x));
    const controls = series(rows.filter(row => row.kind === "control" && row.control !== "dense"));
    const strength = one => one.rows.reduce((sum, row) => sum + row.test, 0) / one.rows.length;
    const best = controls.reduce((most, one) => (most && strength(most) >= strength(one) ? most : one), null);
    for (const one of controls) {
      const name = all.length > 1 ? `control: ${one.name}` : `control: ${one.rows[0].control}`;
      const of = sorted(one.rows, at);
      traces.push({
        type: "scatter",
        mode: "lines+markers",
        name: legendName(name),
        x: of.map(row => percent(row[at])),
        y: of.map(row => percent(row.test)),
        text: of.map(hover),
        hovertemplate: "%{text}<extra></extra>",
        line: { color: look.soft, width: 1.5, dash: "dot" },
        marker: { size: 6, symbol: SYMBOLS[controls.indexOf(one) % 8] + "-open", color: look.soft },
        visible: one === best ? true : "legendonly"
      });
    }
    const end = Math.max(...traces.flatMap(trace => trace.x));
    const dense = rows.filter(row => row.kind === "dense");
    for (const [i, row] of dense.entries()) {
      const name = dense.length > 1 ? `dense (${optionsOf(row, dense)})` : "dense";
      traces.push({
        type: "scatter",
        mode: "lines",
        name: legendName(name),
        x: [0, end],
        y: [percent(row.test), percent(row.test)],
        text: [hover(row), hover(row)],
        hovertemplate: "%{text}<extra></extra>",
        line: { color: look.ink, width: 1.5, dash: DASHES[1 + (i % 5)] }
      });
    }
    const names = traces.filter(trace => trace.showlegend !== false).map(trace => trace.name);
    const hidden = traces.some(trace => trace.visible === "legendonly");
    return {
      traces,
      height: 400 + legendHeight(names, true),
      layout: { xaxis: axis(axisName, { rangemode: "tozero" }), yaxis: axis(metricOf(rows)) },
      caption: "Bands are one standard deviation over seeds." + (hidden ?
        " Click a name in the legend to show or hide it." : ""),
      label: all.map(one =>
          `${one.name}: ${sorted(one.rows, x).map(row => `${points(row.test)} at ${points(row[x])} %`).join(", ")}`)
        .join("; "),
    };
  },
};

const sorted = (rows, key) => [...rows].sort((a, b) => a[key] - b[key] || a.level - b.level);

/** A line with its band; of a grid the points without the other kind of pruning, or with the least. */
function addCurve(traces, one, i, x, key) {
  const other = x === "graph" ? 1 : 0;
  const grid = one.rows.filter(row => row.grid);
  const least = Math.min(...grid.map(row => row.grid[other]));
  const rows = sorted(one.rows.filter(row => !row.grid || row.grid[other] === least), key);
  const kind = other ? "weights" : "edges";
  const note = grid.length ? (least ? `, ${kind} \u2212${points(least, 0)} %` : `, all ${kind}`) : "";
  const colour = look.palette[i % 8],
    visible = i < MOST_CURVES ? true : "legendonly";
  const [low, high] = [-1, 1].map(sign => rows.map(row => percent(row.test + sign * (row.spread ?? 0))));
  const across = rows.map(row => percent(row[key]));
  if (rows.some(row => row.spread)) {
    traces.push({
      type: "scatter",
      x: [...across, ...[...across].reverse()],
      y: [...high, ...low.reverse()],
      fill: "toself",
      mode: "lines",
      fillcolor: faint(colour, 0.16),
      line: { width: 0 },
      hoverinfo: "skip",
      showlegend: false,
      legendgroup: one.key,
      visible
    });
  }
  traces.push({
    type: "scatter",
    mode: "lines+markers",
    name: legendName(one.name + note),
    legendgroup: one.key,
    x: across,
    y: rows.map(row => percent(row.test)),
    text: rows.map(hover),
    hovertemplate: "%{text}<extra>%{fullData.name}</extra>",
    line: { color: colour, width: 2.2, dash: DASHES[i % 6] },
    marker: { size: 8, symbol: SYMBOLS[i % 8], color: colour },
    visible
  });
}

const heat = {
  id: "heat",
  title: "Graph \u00d7 weight",
  draw(rows, choose) {
    const grids = series(rows.filter(row => row.kind === "ticket" && row.grid));
    if (!grids.length) return { why: recorded(row => row.grid,
        "No grid recorded: glt run -o schedule=grid searches every pair of sparsities.") };
    const one = pick(grids, choose);
    const against = choose("Colour", [
      ["difference", "against dense"],
      ["test", "test"]
    ]) === "difference";
    const [xs, ys] = [1, 0].map(i => places(one.rows.map(row => row.grid[i])).sort((a, b) => a - b));
    const cell = (x, y) => one.rows.find(row => row.grid[0] === y && row.grid[1] === x);
    const z = ys.map(y => xs.map(x => percent(cell(x, y)?.[against ? "difference" : "test"] ?? null)));
    const scale = against ? [
      [0, look.palette[1]],
      [0.5, look.card],
      [1, look.palette[0]]
    ] : "Cividis";
    const name = value => `${+(100 * value).toFixed(1)} %`;
    return {
      traces: [{
        type: "heatmap",
        x: xs.map(name),
        y: ys.map(name),
        z,
        xgap: 2,
        ygap: 2,
        colorscale: scale,
        ...(against ? { zmid: 0 } : {}),
        texttemplate: against ? "%{z:+.1f}" : "%{z:.1f}",
        text: ys.map(y => xs.map(x => (cell(x, y) ? hover(cell(x, y)) : ""))),
        hovertemplate: "%{text}<extra></extra>",
        hoverongaps: false,
        colorbar: { thickness: 12, outlinewidth: 0, ticksuffix: against ? "" : " %" }
      }],
      height: 380,
      layout: { xaxis: axis("Weights removed", { type: "category", showgrid: false }), yaxis: axis(
        "Edges removed", { type: "category", showgrid: false }) },
      caption: against ? "Points above or below dense, mean over seeds." : "Mean over seeds, percent.",
      label: ys.map(y =>
        `edges ${name(y)} removed: ${xs.map(x => `${points(cell(x, y)?.test ?? null)} at weights ${name(x)}`).join(", ")}`
        ).join("; "),
    };
  },
};

const pick = (list, choose) => {
  const chosen = choose("Of", list.map(one => [one.key, one.name]));
  return list.find(one => one.key === chosen);
};

const MEASURES = [
  ["latency_ms", "latency", "Latency, ms"],
  ["macs", "multiply-adds", "Multiply-adds (MACs)"],
  ["params", "parameters", "Parameters left"],
  ["ticket_bytes", "file size", "Bytes of the ticket file"]
];

const cost = {
  id: "cost",
  title: "Accuracy against cost",
  draw(rows, choose) {
    const known = MEASURES.filter(([key]) => rows.some(row => row.kind === "ticket" && row[key] !== null));
    const none = "No latency recorded: run glt bench.";
    if (!known.length) return { why: recorded(row => MEASURES.some(([key]) => row[key] !== null), none) };
    const key = choose("Against", known.map(([value, text]) => [value, text]));
    const title = known.find(([value]) => value === key)[2];
    const traces = series(rows.filter(row => row.kind === "ticket" && row[key] !== null)).map((one, i) => {
      const of = sorted(one.rows, key);
      return {
        type: "scatter",
        mode: one.rows.some(row => row.grid) ? "markers" : "lines+markers",
        name: legendName(one.name),
        x: of.map(row => row[key]),
        y: of.map(row => percent(row.test)),
        text: of.map(hover),
        hovertemplate: "%{x:,.4~g}<br>%{text}<extra>%{fullData.name}</extra>",
        error_y: { type: "data", array: of.map(row => percent(row.spread) ?? 0), thickness: 1, width: 3,
          color: faint(look.palette[i % 8], 0.5) },
        line: { width: 1.5, color: look.palette[i % 8], dash: DASHES[i % 6] },
        marker: { size: 8, symbol: SYMBOLS[i % 8], color: look.palette[i % 8] },
        visible: i < MOST_CURVES ? true : "legendonly"
      };
    });
    const dense = rows.filter(row => row.kind === "dense" && row[key] !== null);
    if (dense.length) traces.push({
      type: "scatter",
      mode: "markers",
      name: "dense",
      x: dense.map(row => row[key]),
      y: dense.map(row => percent(row.test)),
      text: dense.map(hover),
      hovertemplate: "%{x:,.4~g}<br>%{text}<extra>dense</extra>",
      marker: { size: 12, symbol: "star", color: look.ink }
    });
    const timed = rows.filter(row => key === "latency_ms" && row.kind === "ticket" && row.latency_dense_ms !== null);
    const usual = timed.reduce((sum, row) => sum + row.latency_dense_ms, 0) / timed.length;
    if (timed.length && !dense.length) {
      const all = rows.filter(row => row.kind === "dense");
      traces.push({
        type: "scatter", mode: "markers", name: "dense", x: all.map(() => usual), y: all.map(row => percent(row.test)),
        text: all.map(hover), hovertemplate: "%{x:,.4~g}<br>%{text}<extra>dense</extra>",
        marker: { size: 12, symbol: "star", color: look.ink }
      });
    }
    const xs = traces.flatMap(trace => trace.x).filter(x => x > 0);
    const log = Math.max(...xs) > 12 * Math.min(...xs);
    return {
      traces,
      height: 360 + legendHeight(traces.map(trace => trace.name)),
      layout: { xaxis: axis(title + (log ? ", log scale" : ""), { type: log ? "log" : "linear", ...(log ?
          { dtick: 1 } : {}), exponentformat: "SI" }), yaxis: axis(metricOf(rows)) },
      caption: "Bars are one standard deviation. " + (DATA.rows.some(row => row.latency_ms !== null) ? "" : none),
      label: traces.map(trace =>
        `${trace.name}: ${trace.x.map((x, i) => `${trace.y[i].toFixed(1)} at ${x.toLocaleString("en-US")}`).join(", ")}`
        ).join("; "),
    };
  },
};

const search = {
  id: "search",
  title: "What the search cost",
  draw(rows, choose) {
    const last = series(rows.filter(row => row.kind === "ticket" && row.search_x !== null)).map(one => ({ ...one,
      row: sorted(one.rows, "search_x").at(-1) }));
    if (!last.length) return { why: recorded(row => row.kind === "ticket" && row.search_x !== null,
        "No search cost recorded: records of glt run have search_epochs beside the dense training's.") };
    last.sort((a, b) => b.row.search_x - a.row.search_x);
    const names = last.map(one => plain(wrapped(`${one.name}, level ${one.row.level}`))).map(name => name
      .replaceAll("\n", "<br>"));
    const bars = (name, key, colour, pattern) => ({
      type: "bar",
      orientation: "h",
      name,
      y: names,
      x: last.map(one => one.row[key]),
      text: last.map(one => times(one.row[key])),
      textposition: "outside",
      cliponaxis: false,
      marker: { color: colour, pattern: { shape: pattern, size: 5, solidity: 0.2 } },
      hovertemplate: `%{x:.2f} dense trainings by ${name}<extra>%{y}</extra>`,
      textfont: { color: look.ink }
    });
    const traces = [bars("epochs", "search_x", look.palette[0], "")];
    if (last.some(one => one.row.seconds_x !== null)) traces.push(bars("seconds", "seconds_x", look.palette[4],
      "/"));
    return {
      traces,
      height: 130 + names.reduce((sum, name) => sum + 16 + Math.max(18 * name.split("<br>").length, 17 * traces
        .length), 0),
      layout: {
        barmode: "group",
        bargap: 0.3,
        legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
        margin: { l: 20, r: 40, t: 34, b: 44 },
        xaxis: axis("Dense trainings", { rangemode: "tozero" }),
        yaxis: axis("", { type: "category", autorange: "reversed", showgrid: false })
      },
      caption: "Everything that finding and training the costliest ticket took, teacher and mask rounds included; " +
        "one dense training is 1.",
      label: last.map(one => `${one.name}: ${times(one.row.search_x)} by epochs`).join("; "),
    };
  },
};

function wrapped(text, width = 26) {
  const lines = [""];
  for (const word of text.split(" ")) {
    if ((lines.at(-1) + " " + word).length > width) lines.push(word);
    else lines.push((lines.pop() + " " + word).trim());
  }
  return lines.join("\n").trim();
}

const layers = {
  id: "layers",
  title: "Weights kept in each layer",
  draw(rows, choose) {
    const known = row => row.kind === "ticket" && Object.keys(row.densities).length > 0;
    const all = series(rows.filter(known));
    if (!all.length) return { why: recorded(known,
      "No densities recorded: records of a newer glt run have them.") };
    const one = pick(all, choose);
    const of = sorted(one.rows, "level");
    const names = places(of.flatMap(row => Object.keys(row.densities)));
    const z = names.map(name => of.map(row => percent(row.densities[name] ?? null)));
    return {
      traces: [{
        type: "heatmap",
        x: of.map(row => String(row.level)),
        y: names.map(name => plain(name.replace(/\.weight$/, ""))),
        z,
        zmin: 0,
        zmax: 100,
        xgap: 2,
        ygap: 2,
        colorscale: [
          [0, look.shade],
          [1, look.palette[2]]
        ],
        texttemplate: of.length <= 10 && names.length <= 12 ? "%{z:.1f}" : "",
        hovertemplate: "%{y}, level %{x}: %{z:.2f} % kept<extra></extra>",
        colorbar: { thickness: 12, outlinewidth: 0, ticksuffix: " %" }
      }],
      height: Math.max(300, 110 + 30 * names.length),
      layout: { xaxis: axis("Level", { type: "category", showgrid: false }), yaxis: axis("", { type: "category",
          autorange: "reversed", showgrid: false }) },
      caption: "Percent of each layer's weights that stay, mean over seeds.",
      label: of.map(row =>
        `level ${row.level}: ${Object.entries(row.densities).map(([name, kept]) => `${name} ${points(kept)}`).join(", ")}`
        ).join("; "),
    };
  },
};

/** The pictures of what is shown, and what to say where there are none. */
function picturesOf(rows, choose) {
  const wanted = new Set(rows.filter(row => row.kind === "ticket").map(row => row.experiment));
  const found = DATA.pictures.filter(picture => wanted.has(picture.experiment));
  if (!found.length) {
    const whys = places([...wanted].map(key => DATA.without_picture[key]).filter(Boolean));
    return { why: whys.length ? `Not drawn: ${whys.join("; ")}.` :
        "Not drawn: no ticket files lie beside these records." };
  }
  const all = found.map(picture => ({ key: picture.experiment, name: nameOf(picture, found), picture }));
  const grid = new Set(rows.filter(row => row.grid).map(row => row.experiment));
  all.sort((a, b) => grid.has(a.key) - grid.has(b.key));
  const { picture } = pick(all, choose);
  const levels = Object.keys(picture.after);
  const level = choose("Level", levels.map(level => [level, level]), levels[Math.floor(levels.length / 2)]);
  return { picture, level };
}

const degrees = {
  id: "degrees",
  title: "Degrees before and after",
  draw(rows, choose) {
    const { why, picture, level } = picturesOf(rows, choose);
    if (why) return { why };
    const bar = (name, y, colour, shape) => ({
      type: "bar",
      name,
      x: picture.bins,
      y,
      marker: { color: colour, pattern: { shape, size: 5, solidity: 0.2 } },
      hovertemplate: `degree %{x}: %{y:.1f} % of nodes<extra>${name}</extra>`
    });
    const lonely = picture.isolated[level];
    return {
      traces: [bar("before", picture.before, look.soft, ""), bar(`level ${level}`, picture.after[level], look
        .palette[0], "/")],
      height: 440,
      layout: { barmode: "group", bargap: 0.25, xaxis: axis("Edges of a node", { type: "category" }), yaxis: axis(
          "Nodes, %") },
      caption: `Nodes without edges: ${whole(picture.isolated[0])} before, ${whole(lonely)} after. ` +
        `The ticket of seed ${picture.seed}.`,
      label: picture.bins.map((bin, i) =>
          `degree ${bin}: ${picture.before[i].toFixed(1)} % before, ${picture.after[level][i].toFixed(1)} % after`)
        .join("; "),
    };
  },
};

const subgraph = {
  id: "subgraph",
  title: "A corner of the ticket's graph",
  draw(rows, choose) {
    const { why, picture, level } = picturesOf(rows, choose);
    if (why) return { why };
    const { x, y, label, edges, kept } = picture.graph;
    const lines = (name, stays, line) => {
      const of = edges.filter((_, i) => kept[level][i] === stays);
      return {
        type: "scatter",
        mode: "lines",
        name: `${name} (${of.length})`,
        hoverinfo: "skip",
        line,
        x: of.flatMap(([a, b]) => [x[a], x[b], null]),
        y: of.flatMap(([a, b]) => [y[a], y[b], null])
      };
    };
    const gone = lines("removed", 0, { color: faint(look.palette[1], 0.75), width: 1.2, dash: "dot" });
    const stay = lines("kept", 1, { color: look.soft, width: 1.8 });
    const classes = places(label).sort((a, b) => a - b);
    const nodes = classes.map((each, i) => {
      const of = label.map((_, node) => node).filter(node => label[node] === each);
      return {
        type: "scatter",
        mode: "markers",
        name: `class ${each}`,
        x: of.map(n => x[n]),
        y: of.map(n => y[n]),
        hovertemplate: `class ${each}<extra></extra>`,
        showlegend: classes.length > 1,
        marker: { size: 9, symbol: SYMBOLS[i % 8], color: look.palette[i % 8], line: { color: look.card,
            width: 1.2 } }
      };
    });
    const bare = { visible: false, fixedrange: false };
    const count = `${x.length} nodes and ${edges.length} edges`;
    return {
      traces: [gone, stay, ...nodes],
      height: 440 + legendHeight([gone.name, stay.name, ...classes.map(each => `class ${each}`)]),
      layout: { xaxis: bare, yaxis: { ...bare, scaleanchor: "x" }, margin: { l: 6, r: 6, t: 6, b: 6 } },
      caption: `A neighbourhood of ${count}, the ticket of seed ${picture.seed}.`,
      label: `${count}: ${gone.name}, ${stay.name}`,
    };
  },
};
