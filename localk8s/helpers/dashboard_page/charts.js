// CPU and memory of each node over time, as SVG. Knows samples and capacities, nothing else.
const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 300, HEIGHT = 100, SPAN = 600; // seconds shown

export const bytes = (n) => {
  if (n == null) return "–";
  for (const unit of ["B", "KiB", "MiB", "GiB", "TiB"]) {
    if (n < 1024 || unit === "TiB") return `${n < 10 && unit !== "B" ? n.toFixed(1) : Math.round(n)} ${unit}`;
    n /= 1024;
  }
};
export const cores = (n) => (n == null ? "–" : n < 1 ? `${Math.round(n * 1000)}m` : n.toFixed(2));

function shares(samples, name, index, total, now) {
  const found = [];
  for (const sample of samples) {
    const value = sample.nodes[name]?.[index];
    if (value != null && total && now - sample.at <= SPAN) found.push([WIDTH * (1 - (now - sample.at) / SPAN), value / total]);
  }
  return found;
}

const TOPS = [0.1, 0.25, 0.5, 1]; // what the upper edge may stand for
const points = (found, top) =>
  found.map(([x, share]) => `${x.toFixed(1)},${(HEIGHT * (1 - Math.min(1, share / top))).toFixed(1)}`).join(" ");

function svg(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

function make(node) {
  const box = document.createElement("div");
  box.className = "chart";
  const head = document.createElement("div");
  head.className = "chart-head";
  const title = document.createElement("b");
  title.textContent = node.name;
  const cpu = Object.assign(document.createElement("span"), { className: "legend cpu" });
  const memory = Object.assign(document.createElement("span"), { className: "legend memory" });
  head.append(title, cpu, memory);
  const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
  for (const y of [0.5, 25, 50, 75, HEIGHT - 0.5]) picture.append(svg("line", { class: "grid", x1: 0, x2: WIDTH, y1: y, y2: y }));
  const lines = [svg("polyline", { class: "memory-line" }), svg("polyline", { class: "cpu-line" })];
  picture.append(...lines);
  const axis = document.createElement("div");
  axis.className = "axis";
  for (const text of ["10 min ago", "0 to 100 %", "now"]) axis.append(Object.assign(document.createElement("span"), { textContent: text }));
  box.append(head, picture, axis);
  return { box, cpu, memory, picture, lines, scale: axis.children[1] };
}

const charts = new Map();

export function drawCharts(parent, nodes, samples) {
  const now = samples.length ? samples[samples.length - 1].at : 0;
  const last = samples[samples.length - 1]?.nodes ?? {};
  for (const [name, chart] of charts) {
    if (!nodes.some((node) => node.name === name)) { chart.box.remove(); charts.delete(name); }
  }
  for (const node of nodes) {
    let chart = charts.get(node.name);
    if (!chart) { chart = make(node); charts.set(node.name, chart); parent.append(chart.box); }
    const [cpu, memory] = last[node.name] ?? [null, null];
    chart.cpu.textContent = `CPU ${cores(cpu)} of ${node.cpu}`;
    chart.memory.textContent = `memory ${bytes(memory)} of ${bytes(node.memory)}`;
    chart.picture.setAttribute("aria-label", `${chart.cpu.textContent}, ${chart.memory.textContent}`);
    const found = [shares(samples, node.name, 1, node.memory, now), shares(samples, node.name, 0, node.cpu, now)];
    const most = Math.max(0, ...found.flat().map(([, share]) => share));
    const top = TOPS.find((each) => most <= each * 0.95) ?? 1;
    chart.scale.textContent = `0 to ${top * 100} %`;
    found.forEach((line, index) => chart.lines[index].setAttribute("points", points(line, top)));
  }
}
