// The section of curves: choice of metric, view and axis, a legend that marks curves, and a table of what is marked.

const MARKED_FIRST = 6;
const TABLE_ROWS = 40;

function curvesSection() {
  const data = readData("curves-data");
  const host = document.getElementById("curves-chart");
  if (data === null || host === null) return;
  const state = { metric: data.first, view: 0, log: null, band: true, others: true, marked: new Map() };
  host.replaceChildren();

  const choose = (label, names, change) => {
    const box = make("select", { change: () => change(box.value) });
    names.forEach(([value, text]) => box.append(make("option", { value }, text)));
    return make("label", {}, label, box);
  };
  const tick = (label, isOn, change) => {
    const box = make("input", { type: "checkbox", change: () => change(box.checked) });
    box.checked = isOn;
    return make("label", {}, box, label);
  };
  const metricOf = (name) => data.metrics.find((metric) => metric.name === name);
  const log = tick("logarithmic", metricOf(state.metric).log, (value) => update({ log: value }));
  const metrics = data.metrics.map((metric) => [metric.name, metric.title]);
  const metricChoice = choose("Metric", metrics, (metric) => {
    log.firstChild.checked = metricOf(metric).log;
    update({ metric, log: null });
  });
  metricChoice.lastChild.value = state.metric;
  const views = data.views.map((view, place) => [place, `${view.name} (${view.series.length})`]);
  const band = tick("± deviation", true, (value) => update({ band: value }));
  const bars = make("div", { class: "bars" }, metricChoice,
    views.length > 1 ? choose("Curves", views, (view) => update({ view: Number(view) }, true)) : null,
    log, data.views.some((view) => view.series.some((one) => one.models > 1)) ? band : null,
    tick("others in grey", true, (value) => update({ others: value })),
    make("button", { type: "button", click: () => mark("all") }, "Mark all"),
    make("button", { type: "button", click: () => mark("none") }, "Mark none"));
  const legend = make("div", { class: "legend", role: "group", "aria-label": "Marked curves" });
  host.append(bars);
  const chart = new LineChart(host, "Curves");
  const table = make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Values of the marked curves" });
  const folded = make("details", { toggle: () => fillTable() }, make("summary", {}, "Table of the marked curves"), table);
  host.append(legend, folded);

  function update(change, isNewView = false) {
    Object.assign(state, change);
    if (isNewView) state.marked = firstMarked();
    paint();
  }

  function firstMarked() {
    const found = new Map();
    data.views[state.view].series.slice(0, MARKED_FIRST).forEach((_, place) => found.set(place, place));
    return found;
  }

  function mark(which) {
    state.marked = new Map();
    if (which === "all") data.views[state.view].series.forEach((_, place) => state.marked.set(place, place % COLOURS));
    paint();
  }

  function turn(place) {
    if (state.marked.has(place)) state.marked.delete(place);
    else {
      const used = [...state.marked.values()];
      const counts = Array.from({ length: COLOURS }, (_, slot) => used.filter((one) => one === slot).length);
      state.marked.set(place, counts.indexOf(Math.min(...counts)));
    }
    paint(place);
  }

  function lines() {
    const found = [];
    data.views[state.view].series.forEach((series, place) => {
      const curve = series.curves[state.metric];
      const slot = state.marked.get(place);
      if (curve === undefined || (slot === undefined && !state.others)) return;
      const [axis, low, high, lower, upper] = curve;
      const epochs = data.axes[axis];
      const points = epochs.map((epoch, at) => [epoch, low[at], high ? high[at] : low[at]]);
      const edges = lower && state.band ? epochs.map((epoch, at) => [epoch, lower[at], upper[at]]) : null;
      found.push({ label: name(series), role: slot === undefined ? "other" : `curve-${slot}`, marked: slot !== undefined,
        dash: slot === undefined ? "" : DASHES[slot % DASHES.length], points, band: edges });
    });
    return found;
  }

  const name = (series) => `${series.rank === null ? "" : `${series.rank}. `}${series.label}`;

  function paint(focused = null) {
    const metric = metricOf(state.metric);
    chart.title = `Curves: ${metric.title}`;
    chart.show({ panels: [{ title: metric.title, log: state.log ?? metric.log, lines: lines() }],
      across: { title: "epoch", text: (x) => String(x), low: 0, sizes: EPOCH_SIZES } });
    const buttons = data.views[state.view].series.map((series, place) => {
      const slot = state.marked.get(place);
      const sample = slot === undefined ? swatch("other", "") : swatch(`curve-${slot}`, DASHES[slot % DASHES.length]);
      return make("button", { type: "button", "aria-pressed": String(slot !== undefined), click: () => turn(place) },
        sample, `${name(series)}${series.models > 1 ? ` · ${series.models} models` : ""}`);
    });
    const scrolled = legend.scrollTop;
    legend.replaceChildren(...buttons);
    legend.scrollTop = scrolled;
    if (focused !== null) buttons[focused].focus({ preventScroll: true });
    fillTable();
  }

  function fillTable() {
    if (!folded.open) return;
    const marked = lines().filter((line) => line.marked);
    const epochs = [...new Set(marked.flatMap((line) => line.points.map((point) => point[0])))].sort((a, b) => a - b);
    const step = Math.max(1, Math.ceil(epochs.length / TABLE_ROWS));
    const chosen = epochs.filter((_, place) => (epochs.length - 1 - place) % step === 0);
    const head = make("tr", {}, make("th", { scope: "col" }, "Epoch"),
      ...marked.map((line) => make("th", { scope: "col" }, line.label)));
    const rows = chosen.map((epoch) => make("tr", {}, make("th", { scope: "row" }, String(epoch)),
      ...marked.map((line) => make("td", { class: "number" }, valueAt(line, epoch, numberText) ?? "—"))));
    const caption = `${metricOf(state.metric).title}${step > 1 ? `, every ${step}th point` : ""}`;
    table.replaceChildren(make("table", {}, make("caption", {}, caption), make("thead", {}, head),
      make("tbody", {}, ...rows)));
  }

  state.marked = firstMarked();
  paint();
}

const EPOCH_SIZES = Array.from({ length: 10 }, (_, power) => [1, 2, 5].map((nice) => nice * 10 ** power)).flat();
