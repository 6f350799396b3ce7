// Parallel coordinates: an axis per swept setting and one for a metric, a line per config.

const FIFTHS = 5;

function parallelSection() {
  const data = readData("parallel-data");
  const host = document.getElementById("parallel-chart");
  if (data === null || host === null) return;
  host.replaceChildren();
  let metric = data.metrics.find((one) => one.name === data.first) ?? data.metrics[0];
  const brushes = new Map();
  const box = make("select", { change: () => {
    metric = data.metrics.find((one) => one.name === box.value);
    brushes.delete(data.axes.length);
    paint();
  } });
  data.metrics.forEach((one) => box.append(make("option", { value: one.name }, one.title)));
  box.value = metric.name;
  const key = make("span", {}, swatch("curve-0", ""), " best fifth ", swatch("other", ""), " middle ",
    swatch("curve-1", ""), " worst fifth");
  const count = make("span", { role: "status" });
  host.append(make("div", { class: "bars" }, make("label", {}, "Metric", box), key, count));
  const picture = make("div", { tabindex: "0", role: "group",
    "aria-label": "Parallel coordinates: arrow keys go from config to config" });
  const tip = make("div", { class: "tip", hidden: true });
  const told = make("div", { class: "seen", "aria-live": "polite" });
  host.append(picture, tip, told);
  let drawn = { axes: [], lines: [], width: 0 };
  let shown = null;

  function axesFor(width, top, bottom) {
    const count = data.axes.length + 1;
    const left = 50;
    const right = width - 56;
    const at = (place) => (count === 1 ? (left + right) / 2 : left + (place * (right - left)) / (count - 1));
    const found = data.axes.map((axis, place) => {
      if (axis.words) {
        const size = axis.words.length;
        const y = (word) => bottom - ((axis.words.indexOf(word) + 0.5) * (bottom - top)) / size;
        return { x: at(place), title: axis.key, y, ticks: axis.words.map((word) => [y(word), word]) };
      }
      const scale = scaleOf(axis.at, bottom, top, { log: axis.log });
      const ticks = axis.ticks ?? ticksOf(scale, 6);
      const text = (value) => (axis.ticks ? numberText(value) : tickText(value, ticks, scale.log));
      return { x: at(place), title: axis.key, y: scale.at, ticks: apart(ticks.map((one) => [scale.at(one), text(one)])) };
    });
    const means = data.lines.map((line) => line.means[metric.name] ?? null);
    const isLog = metric.log && means.every((value) => value === null || value > 0);
    const [from, to] = metric.goal === "lower" ? [top, bottom] : [bottom, top];
    const scale = scaleOf(means, from, to, { log: isLog });
    const ticks = ticksOf(scale, 6);
    const labels = apart(ticks.map((one) => [scale.at(one), tickText(one, ticks, scale.log)]));
    found.push({ x: at(count - 1), title: metric.title, y: scale.at, ticks: labels, isLast: true });
    return { axes: found, means };
  }

  // Labels that do not cover each other.
  function apart(ticks) {
    const kept = [];
    for (const tick of ticks) if (kept.every((one) => Math.abs(one[0] - tick[0]) >= 12)) kept.push(tick);
    return kept;
  }

  function paint() {
    const width = picture.clientWidth;
    if (width === 0) return;
    const top = 40;
    const height = width < 600 ? 300 : 380;
    const bottom = height - 16;
    const { axes, means } = axesFor(width, top, bottom);
    const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "font-size": 11 },
      draw("title", {}, "Parallel coordinates of the configs"),
      draw("desc", {}, `${data.lines.length} configs by ${axes.map((axis) => axis.title).join(", ")}`));
    const badness = (value) => (metric.goal === "higher" ? -value : value);
    const order = data.lines.map((_, place) => place).filter((place) => means[place] !== null);
    order.sort((one, other) => badness(means[one]) - badness(means[other]));
    const lines = [];
    order.forEach((place, rank) => {
      const ys = [...data.axes.map((axis, at) => axes[at].y(axis.at[place])), axes.at(-1).y(means[place])];
      const fifth = Math.floor((rank * FIFTHS) / order.length);
      const role = fifth === 0 ? "curve-0" : fifth === FIFTHS - 1 ? "curve-1" : "other";
      const d = ys.map((y, at) => `${at ? "L" : "M"}${axes[at].x.toFixed(1)},${y.toFixed(1)}`).join("");
      const path = draw("path", { d, class: `s-${role}`, "stroke-opacity": role === "other" ? 0.5 : 0.75,
        "stroke-width": role === "other" ? 1.2 : 1.6 });
      lines.push({ ys, path, ...data.lines[place], value: means[place] });
    });
    [...lines].reverse().forEach((line) => svg.append(line.path));
    axes.forEach((axis, place) => drawAxis(svg, axis, place, { top, bottom, width, count: axes.length }));
    picture.replaceChildren(svg);
    drawn = { axes, lines, width };
    leave();
    filter();
  }

  function drawAxis(svg, axis, place, { top, bottom, width, count }) {
    const side = place === 0 ? "start" : axis.isLast ? "end" : "middle";
    const edge = place === 0 ? 2 : axis.isLast ? width - 2 : axis.x;
    const room = Math.floor(width / count / 6.5);
    const title = axis.title.length > room ? `${axis.title.slice(0, Math.max(3, room - 1))}…` : axis.title;
    const head = draw("text", { x: edge, y: 14, class: "f-text", "font-size": 12, "font-weight": 600,
      "text-anchor": side }, title, draw("title", {}, axis.title));
    svg.append(draw("line", { x1: axis.x, x2: axis.x, y1: top, y2: bottom, class: "s-axis" }), head);
    for (const [y, text] of axis.ticks) {
      const short = text.length > room ? `${text.slice(0, Math.max(3, room - 1))}…` : text;
      svg.append(draw("text", { x: axis.x + (axis.isLast ? 6 : -6), y: y + 4, class: "f-text label",
        "text-anchor": axis.isLast ? "start" : "end" }, short, draw("title", {}, text)));
    }
    const range = draw("rect", { class: "brush", x: axis.x - 7, width: 14, visibility: "hidden" });
    const grip = draw("rect", { class: "grip", x: axis.x - 12, width: 24, y: top - 6, height: bottom - top + 12 });
    const set = (span) => {
      if (span === null) brushes.delete(place);
      else brushes.set(place, span);
      range.setAttribute("visibility", span === null ? "hidden" : "visible");
      if (span !== null) {
        range.setAttribute("y", Math.min(...span));
        range.setAttribute("height", Math.abs(span[1] - span[0]));
      }
      filter();
    };
    grip.addEventListener("pointerdown", (event) => {
      const from = event.clientY - picture.getBoundingClientRect().top;
      grip.setPointerCapture(event.pointerId);
      event.preventDefault();
      set(null);
      const move = (moved) => {
        const to = moved.clientY - picture.getBoundingClientRect().top;
        set(Math.abs(to - from) < 4 ? null : [from, to]);
      };
      grip.addEventListener("pointermove", move);
      const end = () => grip.removeEventListener("pointermove", move);
      grip.addEventListener("pointerup", end, { once: true });
      grip.addEventListener("pointercancel", end, { once: true });
    });
    svg.append(range, grip);
    if (brushes.has(place)) set(brushes.get(place));
  }

  const isKept = (line) => [...brushes].every(([place, span]) =>
    line.ys[place] >= Math.min(...span) - 0.5 && line.ys[place] <= Math.max(...span) + 0.5);

  function filter() {
    let kept = 0;
    for (const line of drawn.lines) {
      line.kept = isKept(line);
      kept += Number(line.kept);
      line.path.setAttribute("visibility", line.kept ? "visible" : "hidden");
    }
    count.textContent = brushes.size ? `${kept} of ${drawn.lines.length} configs` : `${drawn.lines.length} configs`;
  }

  function tell(line, x, y) {
    if (shown !== null) shown.path.setAttribute("stroke-width", shown.width);
    shown = line;
    shown.width = line.path.getAttribute("stroke-width");
    line.path.setAttribute("stroke-width", 4);
    line.path.parentNode.insertBefore(line.path, line.path.parentNode.querySelector("line"));
    tip.replaceChildren(make("b", {}, `${line.rank === null ? "" : `${line.rank}. `}${line.label}`),
      make("div", {}, make("span", {}, `${metric.title} ${numberText(line.value)}${line.soFar ? ", so far" : ""}`)));
    tip.hidden = false;
    const size = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(0, Math.min(x + 14, drawn.width - size.width))}px`;
    tip.style.top = `${picture.offsetTop + Math.max(0, y - size.height - 10)}px`;
  }

  function leave() {
    if (shown !== null) shown.path.setAttribute("stroke-width", shown.width);
    shown = null;
    tip.hidden = true;
  }

  function distance(line, x, y) {
    const { axes } = drawn;
    let best = Infinity;
    for (let at = 0; at + 1 < axes.length; at += 1) {
      const [left, right] = [axes[at].x, axes[at + 1].x];
      if (x < left - 10 || x > right + 10) continue;
      const share = Math.min(Math.max((x - left) / (right - left), 0), 1);
      best = Math.min(best, Math.abs(line.ys[at] + share * (line.ys[at + 1] - line.ys[at]) - y));
    }
    return best;
  }

  picture.addEventListener("pointermove", (event) => {
    const frame = picture.getBoundingClientRect();
    const [x, y] = [event.clientX - frame.left, event.clientY - frame.top];
    let found = null;
    let least = 12;
    for (const line of drawn.lines) {
      const far = line.kept ? distance(line, x, y) : Infinity;
      if (far < least) [found, least] = [line, far];
    }
    if (found === null) leave();
    else tell(found, x, y);
  });
  picture.addEventListener("pointerleave", leave);
  picture.addEventListener("blur", leave);
  picture.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    if (event.key === "Escape") leave();
    const lines = drawn.lines.filter((line) => line.kept);
    if (step === undefined || lines.length === 0) return;
    event.preventDefault();
    const place = shown === null ? (step > 0 ? -1 : lines.length) : lines.indexOf(shown);
    const next = lines[Math.min(Math.max(place + step, 0), lines.length - 1)];
    tell(next, drawn.axes.at(-1).x - 40, next.ys.at(-1));
    told.textContent = tip.textContent;
  });
  onWidth(picture, paint);
}
