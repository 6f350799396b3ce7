// Elements, numbers and scales. Text from a run only ever becomes text nodes and attribute values.

const SVG = "http://www.w3.org/2000/svg";
const COLOURS = 8;
const DASHES = ["", "7 3", "2 3", "9 3 2 3"];

function fill(node, attributes, parts) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...parts.filter((part) => part !== null));
  return node;
}

const make = (name, attributes = {}, ...parts) => fill(document.createElement(name), attributes, parts);
const draw = (name, attributes = {}, ...parts) => fill(document.createElementNS(SVG, name), attributes, parts);

function readData(id) {
  const node = document.getElementById(id);
  return node === null ? null : JSON.parse(node.textContent);
}

function numberText(value) {
  if (value === null || value === undefined) return "—";
  if (value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e5)) return value.toExponential(2);
  return String(Number(value.toPrecision(4)));
}

function bytesText(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let place = 0;
  while (Math.abs(value) >= 1024 && place < units.length - 1) {
    value /= 1024;
    place += 1;
  }
  return `${Number(value.toFixed(1))} ${units[place]}`;
}

function clockText(seconds) {
  const whole = Math.round(seconds);
  const two = (value) => String(value).padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  const rest = `${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
  return hours ? `${hours}:${rest}` : rest.replace(/^0/, "");
}

// From values to pixels. `log` needs positive bounds.
function makeScale(low, high, start, end, log = false) {
  const change = log ? Math.log : (value) => value;
  const from = change(low);
  const size = change(high) - from;
  const at = (value) => (log && value <= 0 ? null : start + ((change(value) - from) / size) * (end - start));
  const back = (pixel) => {
    const found = from + ((pixel - start) / (end - start)) * size;
    return log ? Math.exp(found) : found;
  };
  return { low, high, log, at, back, start, end };
}

function scaleOf(values, start, end, { log = false, margin = 0.04, zero = false } = {}) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (value === null || (log && value <= 0)) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  if (low > high) return log ? scaleOf(values, start, end, { margin, zero }) : makeScale(0, 1, start, end);
  if (log) {
    const room = high > low ? (high / low) ** margin : 1.5;
    return makeScale(low / room, high * room, start, end, true);
  }
  if (zero) low = Math.min(0, low);
  const room = (high - low) * margin || Math.abs(high) * 0.1 || 1;
  return makeScale(zero && low === 0 ? 0 : low - room, high + room, start, end);
}

const NICE = [1, 2, 5, 10];

function ticksOf(scale, most, sizes = null) {
  if (scale.log) {
    const first = Math.ceil(Math.log10(scale.low));
    const last = Math.floor(Math.log10(scale.high));
    const found = [];
    if (last - first >= 1) {
      const step = Math.ceil((last - first + 1) / most);
      for (let power = first; power <= last; power += step) found.push(10 ** power);
      return found;
    }
    for (let power = first - 1; power <= last; power += 1) {
      for (const nice of [1, 2, 5]) {
        const value = nice * 10 ** power;
        if (value >= scale.low && value <= scale.high) found.push(value);
      }
    }
    if (found.length > 1) return found;
  }
  const rough = (scale.high - scale.low) / most;
  const size = 10 ** Math.floor(Math.log10(rough));
  const steps = sizes ?? NICE.map((nice) => nice * size);
  const step = steps.find((one) => one >= rough * (1 - 1e-9)) ?? Math.ceil(rough / steps.at(-1)) * steps.at(-1);
  const found = [];
  for (let place = Math.ceil(scale.low / step); place * step <= scale.high; place += 1) found.push(place * step);
  return found;
}

function tickText(value, ticks, log) {
  if (value === 0) return "0";
  const gap = ticks.length > 1 && !log ? Math.abs(ticks[1] - ticks[0]) : 0;
  if (gap === 0 || Math.abs(value) < 1e-4 || Math.abs(value) >= 1e6) return String(Number(value.toPrecision(3)));
  return value.toFixed(Math.max(0, -Math.floor(Math.log10(gap * 1.000001))));
}

// A sample of how a curve is drawn, for legends.
function swatch(role, dash, width = 28) {
  const line = draw("line", { x1: 0, x2: width, y1: 5, y2: 5, class: `s-${role}`, "stroke-width": 2.5 });
  if (dash) line.setAttribute("stroke-dasharray", dash);
  return draw("svg", { viewBox: `0 0 ${width} 10`, width, height: 10, class: "swatch", "aria-hidden": "true" }, line);
}

// Calls `paint(width)` now and whenever the width of `host` changes.
function onWidth(host, paint) {
  let width = 0;
  const look = () => {
    const now = Math.round(host.clientWidth);
    if (now > 0 && now !== width) {
      width = now;
      paint(width);
    }
  };
  new ResizeObserver(look).observe(host);
  look();
}
