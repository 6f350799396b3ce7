// The section of resources: load and memory over the time of the run, with marks for what was decided.

const TIME_SIZES = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 21600, 43200, 86400];
const RESOURCE_DASHES = ["", "7 3", "2 3", "9 3 2 3"];

function byteSizes(range) {
  const unit = 1024 ** Math.max(0, Math.floor(Math.log(range / 6) / Math.log(1024)));
  return [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000].map((size) => size * unit);
}

function resourcesSection() {
  const data = readData("resources-data");
  const host = document.getElementById("resources-chart");
  if (data === null || host === null) return;
  host.replaceChildren();
  const legend = make("div", { class: "bars" });
  let place = 0;
  const panels = data.panels.map((panel) => ({
    title: panel.title,
    zero: true,
    text: panel.bytes ? bytesText : null,
    value: panel.bytes ? bytesText : (value) => `${numberText(value)} %`,
    sizes: panel.bytes ? byteSizes : null,
    lines: panel.lines.map((line) => {
      const role = `curve-${place % COLOURS}`;
      const dash = RESOURCE_DASHES[place % RESOURCE_DASHES.length];
      place += 1;
      legend.append(make("span", {}, swatch(role, dash), ` ${line.label}`));
      return { label: line.label, role, dash, marked: true, points: line.points, band: null };
    }),
  }));
  const kinds = [["failure", "✕ failure"], ["warning", "▲ warning"], ["decision", "◆ decision"]];
  for (const [kind, text] of kinds) {
    if (data.marks.some((mark) => mark.kind === kind)) legend.append(make("span", { class: `legend-${kind}` }, text));
  }
  if (place === 0) {
    host.append("No figures were recorded.");
    return;
  }
  host.append(legend);
  const chart = new LineChart(host, "Resources");
  chart.show({ panels: panels.filter((panel) => panel.lines.length), marks: data.marks,
    across: { title: "time", text: clockText, low: 0, sizes: TIME_SIZES } });
}
