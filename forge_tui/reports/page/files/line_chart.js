// A chart of curves over one axis, in one panel or several below each other, with the values at the pointer.
//
// panels: [{title, log, zero, text(value), ticks, lines: [{label, role, dash, marked, points: [[x, low, high]],
// band: [[x, low, high]]}]}]; marks: [{at, kind, text}]; across: {title, text(x), low, sizes}.

const MARGIN = { left: 62, right: 12, top: 30, bottom: 24 };
const MOST_TOLD = 12;
const NARROW = 600; // below it the values stand under the picture

class LineChart {
  constructor(host, title) {
    this.title = title;
    this.picture = make("div", { tabindex: "0", role: "group", "aria-label": `${title}: arrow keys show the values` });
    this.tip = make("div", { class: "tip", hidden: true });
    this.told = make("div", { class: "seen", "aria-live": "polite" });
    host.append(this.picture, this.tip, this.told);
    this.content = null;
    this.at = null;
    onWidth(this.picture, () => this.paint());
    this.picture.addEventListener("pointermove", (event) => this.point(event));
    this.picture.addEventListener("pointerdown", (event) => this.point(event));
    this.picture.addEventListener("pointerleave", () => this.leave());
    this.picture.addEventListener("blur", () => this.leave());
    this.picture.addEventListener("keydown", (event) => this.press(event));
  }

  show(content) {
    this.content = content;
    this.paint();
  }

  paint() {
    const width = this.picture.clientWidth;
    if (this.content === null || width === 0) return;
    this.leave();
    const { panels, across, marks = [] } = this.content;
    const height = (width < NARROW ? 240 : 340) * (panels.length > 1 ? 0.7 : 1);
    const left = MARGIN.left;
    const right = width - MARGIN.right;
    const every = panels.flatMap((panel) => panel.lines);
    const xs = [...every.flatMap((line) => line.points.map((point) => point[0])), ...marks.map((mark) => mark.at)];
    const first = Math.min(...(across.low === undefined ? [] : [across.low]), ...bounds(xs));
    this.x = makeScale(first, Math.max(...bounds(xs), first + 1), left, right);
    const whole = height * panels.length + 18;
    const svg = draw("svg", { viewBox: `0 0 ${width} ${whole}`, width, height: whole, role: "img",
      "font-size": 11 }, draw("title", {}, this.title), draw("desc", {}, this.description()));
    panels.forEach((panel, place) => this.panel(svg, panel, place * height, (place + 1) * height));
    const bottom = panels.length * height - MARGIN.bottom;
    for (const tick of ticksOf(this.x, Math.max(3, width / 110), across.sizes)) {
      svg.append(draw("text", { x: this.x.at(tick), y: bottom + 15, class: "f-muted", "text-anchor": "middle" },
        across.text(tick)));
    }
    svg.append(draw("text", { x: right, y: whole - 6, class: "f-muted", "text-anchor": "end" }, across.title));
    for (const mark of marks) this.mark(svg, mark, bottom);
    this.cross = draw("line", { y1: MARGIN.top, y2: bottom, class: "s-axis", "stroke-dasharray": "3 3",
      visibility: "hidden" });
    svg.append(this.cross);
    this.picture.replaceChildren(svg);
    const shown = every.filter((line) => line.marked);
    this.stops = [...new Set((shown.length ? shown : every).flatMap((line) => line.points.map((point) => point[0])))];
    this.stops.sort((one, other) => one - other);
  }

  description() {
    const { panels, across, marks = [] } = this.content;
    const lines = panels.map((panel) => `${panel.title}: ${panel.lines.length} curves`).join("; ");
    return `${lines} over ${across.title}${marks.length ? `, with ${marks.length} marked events` : ""}.`;
  }

  panel(svg, panel, top, bottom) {
    const { x } = this;
    const lower = bottom - MARGIN.bottom;
    const upper = top + MARGIN.top;
    const values = function* all() {
      for (const line of panel.lines) for (const [, low, high] of line.points) yield* [low, high];
    };
    const y = scaleOf(values(), lower, upper, panel);
    panel.y = y;
    const title = `${panel.title}${y.log ? " (log)" : ""}`;
    svg.append(draw("text", { x: x.start, y: top + 18, class: "f-text", "font-size": 13, "font-weight": 600 }, title));
    const ticks = ticksOf(y, 6, panel.sizes ? panel.sizes(y.high - y.low) : null);
    for (const tick of ticks) {
      const at = y.at(tick);
      svg.append(draw("line", { x1: x.start, x2: x.end, y1: at, y2: at, class: "s-grid" }),
        draw("text", { x: x.start - 6, y: at + 4, class: "f-muted", "text-anchor": "end" },
          panel.text ? panel.text(tick) : tickText(tick, ticks, y.log)));
    }
    svg.append(draw("path", { d: `M${x.start},${upper}V${lower}H${x.end}`, class: "s-axis" }));
    const ordered = [...panel.lines].sort((one, other) => Number(one.marked) - Number(other.marked)).reverse();
    ordered.sort((one, other) => Number(one.marked) - Number(other.marked));
    for (const line of ordered) this.line(svg, line, y);
  }

  line(svg, line, y) {
    const { x } = this;
    const pixel = (value) => {
      const at = value === null ? null : y.at(value);
      return at === null ? (value === null ? null : y.start) : Math.min(Math.max(at, y.end), y.start);
    };
    if (line.marked && line.band) {
      for (const part of pieces(line.band)) {
        const there = part.map(([at, , high]) => `${x.at(at).toFixed(1)},${pixel(high).toFixed(1)}`);
        const back = part.map(([at, low]) => `${x.at(at).toFixed(1)},${pixel(low).toFixed(1)}`).reverse();
        svg.append(draw("polygon", { points: [...there, ...back].join(" "), class: `f-${line.role}`,
          "fill-opacity": 0.15 }));
      }
    }
    for (const part of pieces(line.points)) {
      const points = [];
      for (const [at, low, high] of part) {
        points.push(`${x.at(at).toFixed(1)},${pixel(low).toFixed(1)}`);
        if (high !== low) points.push(`${x.at(at).toFixed(1)},${pixel(high).toFixed(1)}`);
      }
      const shape = points.length === 1
        ? draw("circle", { cx: points[0].split(",")[0], cy: points[0].split(",")[1], r: 2.5, class: `f-${line.role}` })
        : draw("polyline", { points: points.join(" "), class: `s-${line.role}`, "stroke-linejoin": "round",
          "stroke-width": line.marked ? 1.9 : 1, "stroke-opacity": line.marked ? 1 : 0.55 });
      if (line.dash && line.marked) shape.setAttribute("stroke-dasharray", line.dash);
      svg.append(shape);
    }
  }

  mark(svg, mark, bottom) {
    const at = this.x.at(mark.at);
    const sign = { failure: "M-4,-8L4,0M4,-8L-4,0", warning: "M0,-8L5,0H-5Z", decision: "M0,-8L4,-4L0,0L-4,-4Z" }[mark.kind];
    svg.append(
      draw("line", { x1: at, x2: at, y1: MARGIN.top, y2: bottom, class: `s-mark-${mark.kind}`, "stroke-opacity": 0.35 }),
      draw("path", { d: sign, transform: `translate(${at},${MARGIN.top})`, "stroke-width": 1.5,
        class: `s-mark-${mark.kind}${mark.kind === "failure" ? "" : ` f-mark-${mark.kind}`}` }),
    );
  }

  point(event) {
    const box = this.picture.getBoundingClientRect();
    const x = this.x.back(event.clientX - box.left);
    if (!this.stops?.length) return;
    this.tell(nearest(this.stops, x), event.clientY - box.top);
  }

  press(event) {
    const last = (this.stops?.length ?? 0) - 1;
    if (last < 0) return;
    const place = this.at === null ? -1 : this.stops.indexOf(this.at);
    const next = { ArrowRight: place + 1, ArrowLeft: place < 0 ? last : place - 1, Home: 0, End: last }[event.key];
    if (event.key === "Escape") this.leave();
    if (next === undefined) return;
    event.preventDefault();
    this.tell(this.stops[Math.min(Math.max(next, 0), last)], 40);
    this.told.textContent = this.tip.textContent;
  }

  tell(x, top) {
    const { panels, across, marks = [] } = this.content;
    this.at = x;
    const at = this.x.at(x);
    this.cross.setAttribute("x1", at);
    this.cross.setAttribute("x2", at);
    this.cross.setAttribute("visibility", "visible");
    const rows = [];
    for (const panel of panels) {
      for (const line of panel.lines.filter((one) => one.marked)) {
        const text = valueAt(line, x, panel.value ?? numberText);
        if (text !== null) rows.push(make("div", {}, swatch(line.role, line.dash, 18), make("span", {}, line.label),
          make("span", { class: "value" }, text)));
      }
    }
    const left = rows.length - MOST_TOLD;
    if (left > 0) rows.splice(MOST_TOLD, left, make("div", {}, make("span", {}, `and ${left} more`)));
    const near = marks.filter((mark) => Math.abs(this.x.at(mark.at) - at) < 5).slice(0, 3);
    rows.push(...near.map((mark) => make("div", {}, make("span", {}, mark.text))));
    this.tip.replaceChildren(make("b", {}, `${across.title} ${across.text(x)}`), ...rows);
    this.tip.hidden = false;
    const width = this.picture.clientWidth;
    const size = this.tip.getBoundingClientRect();
    const side = at + 14 + size.width > width ? Math.max(0, at - 14 - size.width) : at + 14;
    this.tip.style.left = `${side}px`;
    const height = this.picture.clientHeight;
    const down = width < NARROW ? height : Math.max(0, Math.min(top - 10, height - size.height));
    this.tip.style.top = `${this.picture.offsetTop + down}px`;
  }

  leave() {
    this.at = null;
    this.tip.hidden = true;
    this.cross?.setAttribute("visibility", "hidden");
  }
}

function bounds(values) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return low > high ? [0] : [low, high];
}

// The pieces of a curve between its gaps.
function pieces(points) {
  const found = [[]];
  for (const point of points) {
    if (point[1] === null) found.push([]);
    else found.at(-1).push(point);
  }
  return found.filter((piece) => piece.length);
}

function nearest(sorted, value) {
  let low = 0;
  let high = sorted.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < value) low = middle;
    else high = middle;
  }
  return Math.abs(sorted[low] - value) <= Math.abs(sorted[high] - value) ? sorted[low] : sorted[high];
}

function valueAt(line, x, text) {
  const place = line.points.findIndex((point) => point[0] >= x);
  if (place < 0) return null;
  const [, low, high] = line.points[place];
  if (low === null) return "—";
  const value = low === high ? text(low) : `${text(low)} to ${text(high)}`;
  const band = line.band?.[place];
  if (!band || band[1] === null || low !== high) return value;
  return `${value} ± ${text((band[2] - band[1]) / 2)}`;
}
