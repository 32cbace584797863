// The page: keeps what the stream says, draws the section that is shown. Everything is set as text, never as markup.
import { bytes, cores, drawCharts } from "/charts.js";

const $ = (id) => document.getElementById(id);
const rows = { nodes: new Map(), namespaces: new Map(), pods: new Map(), workloads: new Map(), services: new Map(), events: new Map() };
let samples = [], podUsage = {}, shown = "overview", query = "", stream = null, logs = null;
const KEPT_LINES = 4000, TOKEN = "token=";

// The token comes behind the # of the first address, which is then cleared. It is sent as a header: a cookie would go to every
// port of this host.
function takeToken() {
  const given = location.hash.slice(1);
  if (given.startsWith(TOKEN)) {
    sessionStorage.setItem("localk8s-token", given.slice(TOKEN.length));
    history.replaceState(null, "", "/");
  }
  return { Authorization: `Bearer ${sessionStorage.getItem("localk8s-token") ?? ""}` };
}
const headers = takeToken();

// Messages of a stream as they come, also after it broke. Not an EventSource: that sends no header.
function follow(path, { opened = () => {}, told, lost = () => {} }) {
  const ender = new AbortController();
  const read = async () => {
    const answer = await fetch(path, { headers, signal: ender.signal });
    if (answer.status === 401) return false;
    if (!answer.ok) throw new Error(answer.status);
    opened();
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (let { value, done } = await reader.read(); !done; { value, done } = await reader.read()) {
      const parts = (rest + value).split("\n\n");
      rest = parts.pop();
      for (const part of parts) told(JSON.parse(part.slice("data: ".length)));
    }
    return true;
  };
  (async () => {
    for (;;) {
      let again = true;
      try { again = await read(); } catch { /* it broke, or was closed */ }
      if (ender.signal.aborted) return;
      lost(again ? "the dashboard has ended; trying again" : "open the whole address that localk8s dashboard printed");
      if (!again) return;
      await new Promise((done) => setTimeout(done, 1000));
    }
  })();
  return { close: () => ender.abort() };
}

const usageOf = (row) => podUsage[`${row.namespace}/${row.name}`] ?? [null, null];
const age = (since) => {
  const seconds = Math.max(0, (Date.now() - Date.parse(since)) / 1000);
  if (!Number.isFinite(seconds)) return "";
  if (seconds < 120) return `${Math.round(seconds)}s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)}m`;
  return seconds < 172800 ? `${Math.round(seconds / 3600)}h` : `${Math.round(seconds / 86400)}d`;
};
const text = (value, kind = "") => ({ value: String(value ?? ""), kind });
const state = (row, value) => ({ value, kind: "short", bad: row.good === false, state: true });
const number = (value, kind = "") => text(value, `number short ${kind}`);
const place = (row) => text(row.namespace, "wide");

const SECTIONS = {
  pods: {
    title: "Pods", heads: ["Name", "Namespace:wide", "Status", "Ready:number", "Restarts:number wide", "CPU:number wide", "Memory:number wide", "Node:wide", "Age:number"],
    cells: (r) => [text(r.name, "name"), place(r), state(r, r.status), number(r.ready), number(r.restarts, "wide"), number(cores(usageOf(r)[0]), "wide"), number(bytes(usageOf(r)[1]), "wide"), text(r.node, "wide"), number(age(r.created))],
    facts: (r) => ({ Namespace: r.namespace, Status: r.status, Ready: r.ready, Restarts: r.restarts, Node: r.node, Address: r.address, "Controlled by": r.owner, Images: r.images.join(", "), CPU: cores(usageOf(r)[0]), Memory: bytes(usageOf(r)[1]), Created: r.created }),
  },
  workloads: {
    title: "Workloads", heads: ["Name", "Namespace:wide", "Kind", "Ready:number", "Images:wide", "Age:number"],
    cells: (r) => [text(r.name, "name"), place(r), text(r.kind), { ...state(r, r.ready), kind: "number short" }, text(r.images.join(", "), "wide"), number(age(r.created))],
    facts: (r) => ({ Namespace: r.namespace, Kind: r.kind, Ready: r.ready, Images: r.images.join(", "), Created: r.created }),
  },
  services: {
    title: "Services", heads: ["Name", "Namespace:wide", "Type:wide", "Cluster address:wide", "Ports", "Open", "Age:number wide"],
    cells: (r) => [text(r.name, "name"), place(r), text(r.type, "wide"), text(r.address, "wide"), text(r.ports), { links: r.urls, kind: "" }, number(age(r.created), "wide")],
    facts: (r) => ({ Namespace: r.namespace, Type: r.type, "Cluster address": r.address, Ports: r.ports, Addresses: r.urls.join("  "), Created: r.created }),
  },
  events: {
    title: "Events", heads: ["Last", "Reason", "About", "Message", "Namespace:wide", "Count:number wide"],
    cells: (r) => [number(age(r.last)), state(r, r.reason), text(r.about), text(r.message), place(r), number(r.count, "wide")],
    facts: (r) => ({ Type: r.type, Reason: r.reason, About: r.about, Namespace: r.namespace, Message: r.message, Count: r.count, Last: r.last }),
    order: (a, b) => (a.last < b.last ? 1 : a.last > b.last ? -1 : 0),
  },
  nodes: {
    title: "Nodes", heads: ["Name", "Status", "Roles:wide", "Version:wide", "Address", "CPUs:number wide", "Memory:number wide", "Age:number wide"],
    cells: (r) => [text(r.name, "name"), state(r, r.status), text(r.roles, "wide"), text(r.version, "wide"), text(r.address, "short"), number(r.cpu, "wide"), number(bytes(r.memory), "wide"), number(age(r.created), "wide")],
    facts: (r) => ({ Status: r.status, Roles: r.roles, Version: r.version, Address: r.address, CPUs: r.cpu, Memory: bytes(r.memory), Created: r.created }),
  },
  namespaces: {
    title: "Namespaces", heads: ["Name", "Status", "Pods:number", "Age:number"],
    cells: (r) => [text(r.name, "name"), text(r.status), number([...rows.pods.values()].filter((pod) => pod.namespace === r.name).length), number(age(r.created))],
    facts: (r) => ({ Status: r.status, Created: r.created }),
  },
};
const TABS = ["overview", ...Object.keys(SECTIONS)];

function make(tag, className = "", content = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (content !== "") element.textContent = content;
  return element;
}

function inNamespace(row) {
  const wanted = $("namespace").value;
  return !wanted || !row.namespace || row.namespace === wanted;
}

function matches(row) {
  if (!inNamespace(row)) return false;
  if (!query) return true;
  const hay = JSON.stringify(Object.values(row)).toLowerCase();
  return query.split(/\s+/).every((word) => hay.includes(word));
}

const byName = (a, b) => a.namespace.localeCompare(b.namespace) || a.name.localeCompare(b.name);
const drawn = new Map(); // uid -> {tr, key}

function fill(tr, cells) {
  tr.replaceChildren(...cells.map((cell) => {
    const td = make("td", cell.kind);
    if (cell.links) {
      for (const url of cell.links) {
        const a = make("a", "", url);
        a.href = url; a.target = "_blank"; a.rel = "noreferrer noopener";
        td.append(a, make("br"));
      }
    } else if (cell.state) td.append(make("span", cell.bad ? "state bad" : "state", cell.value));
    else td.textContent = cell.value;
    return td;
  }));
}

function drawTable() {
  const section = SECTIONS[shown], body = $("table").tBodies[0];
  const found = [...rows[shown].values()].filter(matches).sort(section.order ?? byName);
  const order = found.map((row) => {
    const cells = section.cells(row), key = JSON.stringify(cells);
    let entry = drawn.get(row.uid);
    if (!entry) {
      entry = { tr: make("tr", "open"), key: "" };
      entry.tr.tabIndex = 0;
      entry.tr.dataset.uid = row.uid;
      drawn.set(row.uid, entry);
    }
    if (entry.key !== key) { fill(entry.tr, cells); entry.key = key; }
    return entry.tr;
  });
  const same = order.length === body.children.length && order.every((tr, index) => body.children[index] === tr);
  if (!same) {
    const focused = document.activeElement;
    body.replaceChildren(...order);
    if (focused?.isConnected && body.contains(focused)) focused.focus({ preventScroll: true });
    const kept = new Set(found.map((row) => row.uid));
    for (const uid of drawn.keys()) if (!kept.has(uid)) drawn.delete(uid);
  }
  const all = rows[shown].size;
  $("count").textContent = found.length === all ? `${all} ${section.title.toLowerCase()}` : `${found.length} of ${all} ${section.title.toLowerCase()}`;
}

function drawHeads() {
  const tr = make("tr");
  for (const head of SECTIONS[shown].heads) {
    const [title, kind = ""] = head.split(":");
    const th = make("th", kind, title);
    th.scope = "col";
    tr.append(th);
  }
  $("table").tHead.replaceChildren(tr);
  $("table").tBodies[0].replaceChildren();
  drawn.clear();
}

function tile(label, value, bad, target) {
  const button = make("button", "tile");
  button.type = "button";
  button.append(make("b", "", value), make("span", "", label));
  if (bad) button.append(" ", make("span", "bad", bad));
  button.addEventListener("click", () => show(target));
  return button;
}

function drawOverview() {
  const of = (name) => [...rows[name].values()].filter(inNamespace);
  const bad = (name) => { const n = of(name).filter((row) => row.good === false).length; return n ? `${n} not well` : ""; };
  const focused = [...$("tiles").children].indexOf(document.activeElement);
  const labels = { nodes: "nodes", workloads: "workloads", pods: "pods", services: "services", namespaces: "namespaces" };
  $("tiles").replaceChildren(...Object.entries(labels).map(([name, label]) => tile(label, of(name).length, bad(name), name)));
  if (focused >= 0) $("tiles").children[focused]?.focus({ preventScroll: true });
  drawCharts($("charts"), [...rows.nodes.values()].sort(byName), samples);
  const warnings = of("events").filter((row) => row.good === false && matches(row)).sort(SECTIONS.events.order).slice(0, 8);
  $("warnings").replaceChildren(...(warnings.length ? warnings.map((row) => {
    const p = make("p");
    p.append(make("span", "state bad", row.reason), `  ${row.about}: ${row.message} `, make("time", "", `${age(row.last)} ago`));
    return p;
  }) : [make("p", "empty", "No warnings.")]));
}

function drawTabs() {
  for (const button of $("tabs").children) {
    const name = button.dataset.tab, label = button.querySelector(".number");
    button.toggleAttribute("aria-current", false);
    if (name === shown) button.setAttribute("aria-current", "page");
    if (!label) continue;
    const found = [...rows[name].values()].filter(inNamespace), bad = name === "events" ? 0 : found.filter((row) => row.good === false).length;
    label.textContent = bad ? `${bad}!` : found.length;
    label.classList.toggle("bad", bad > 0);
  }
}

let pending = false;
function draw() {
  if (pending) return;
  pending = true;
  requestAnimationFrame(() => {
    pending = false;
    drawTabs();
    if (shown === "overview") drawOverview(); else drawTable();
    drawFacts();
  });
}

function show(name) {
  shown = name;
  $("overview").hidden = name !== "overview";
  $("list").hidden = name === "overview";
  if (name !== "overview") drawHeads();
  document.querySelector(`[data-tab="${name}"]`).scrollIntoView({ block: "nearest", inline: "nearest" });
  history.replaceState(null, "", `#${name}`);
  draw();
}

function drawNamespaces() {
  const select = $("namespace"), wanted = select.value;
  const names = [...rows.namespaces.values()].map((row) => row.name).sort();
  select.replaceChildren(new Option("all namespaces", ""), ...names.map((name) => new Option(name, name)));
  if (names.includes(wanted)) select.value = wanted;
}

let open = null; // [section, uid]
function drawFacts() {
  if (!open || !$("details").open) return;
  const row = rows[open[0]].get(open[1]);
  if (!row) { $("details-title").textContent = `${$("details-title").textContent.replace(/ \(gone\)$/, "")} (gone)`; return; }
  const facts = SECTIONS[open[0]].facts(row);
  $("facts").replaceChildren(...Object.entries(facts).filter(([, value]) => value !== "" && value != null)
    .flatMap(([name, value]) => [make("dt", "", name), make("dd", "", String(value))]));
}

function openDetails(section, uid) {
  const row = rows[section].get(uid);
  if (!row) return;
  open = [section, uid];
  $("details-title").textContent = section === "events" ? row.about : row.name;
  $("log-part").hidden = section !== "pods";
  if (!$("details").open) $("details").showModal();
  drawFacts();
  closeLogs();
  if (section === "pods") openLogs(row);
}

function openLogs(row) {
  const pre = $("log"), select = $("log-container");
  let lines = [];
  select.replaceChildren(new Option("all", ""), ...row.containers.map((name) => new Option(name, name)));
  const render = () => {
    const wanted = select.value;
    pre.textContent = lines.filter(([container]) => !wanted || container === wanted)
      .map(([container, line]) => (wanted || row.containers.length < 2 ? line : `${container}  ${line}`)).join("\n") || "No lines yet.";
    if ($("log-stay").checked) pre.scrollTop = pre.scrollHeight;
  };
  select.onchange = render;
  render();
  logs = follow(`/api/logs?namespace=${encodeURIComponent(row.namespace)}&pod=${encodeURIComponent(row.name)}`, {
    opened: () => { lines = []; },
    told: (batch) => {
      if (!batch.length) return;
      lines = lines.concat(batch).slice(-KEPT_LINES);
      render();
    },
  });
}

function closeLogs() { logs?.close(); logs = null; }

function connection(kind, words) {
  $("connection").className = `connection ${kind}`;
  $("connection").textContent = words;
}

function take(message) {
  if (message.type === "everything") {
    for (const [name, found] of Object.entries(message.rows)) rows[name] = new Map(found.map((row) => [row.uid, row]));
    samples = message.usage;
    drawn.clear();
    drawNamespaces();
    connection(message.trouble ? "lost" : "live", message.trouble || "live");
  } else if (message.type === "changes") {
    for (const [name, uid, row] of message.changes) row ? rows[name].set(uid, row) : rows[name].delete(uid);
    if (message.changes.some(([name]) => name === "namespaces")) drawNamespaces();
  } else if (message.type === "usage") {
    samples = [...samples, { at: message.at, nodes: message.nodes }].slice(-200);
    podUsage = message.pods;
  } else if (message.type === "trouble") connection(message.text ? "lost" : "live", message.text || "live");
  draw();
}

function connect() {
  stream = follow("/api/stream", { told: take, lost: (words) => connection("lost", words) });
}

function theme() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = document.documentElement.dataset.theme || (dark ? "dark" : "light");
  document.documentElement.dataset.theme = now === "dark" ? "light" : "dark";
  localStorage.setItem("localk8s-theme", document.documentElement.dataset.theme);
}

function keys(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape" && document.activeElement === $("search")) { $("search").value = query = ""; $("search").blur(); draw(); return; }
  if (event.target.matches("input, select") || $("details").open) return;
  const row = event.target.closest?.("tr[data-uid]");
  if (event.key === "/") { event.preventDefault(); $("search").focus(); }
  else if (event.key === "t") theme();
  else if (/^[1-7]$/.test(event.key)) show(TABS[event.key - 1]);
  else if (row && event.key === "Enter") {
    event.preventDefault(); // or the same key would press the button that gets the focus
    openDetails(shown, row.dataset.uid);
  }
  else if (row && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
    event.preventDefault();
    (event.key === "ArrowDown" ? row.nextElementSibling : row.previousElementSibling)?.focus();
  }
}

function begin() {
  const kept = localStorage.getItem("localk8s-theme");
  if (kept) document.documentElement.dataset.theme = kept;
  $("tabs").append(...TABS.map((name, index) => {
    const button = make("button", "", SECTIONS[name]?.title ?? "Overview");
    button.type = "button";
    button.dataset.tab = name;
    button.title = `( ${index + 1} )`;
    if (name !== "overview") button.append(make("span", "number", "0"));
    button.addEventListener("click", () => show(name));
    return button;
  }));
  $("table").tBodies[0].addEventListener("click", (event) => {
    const row = event.target.closest("tr[data-uid]");
    if (row && !event.target.closest("a")) openDetails(shown, row.dataset.uid);
  });
  $("search").addEventListener("input", () => {
    query = $("search").value.trim().toLowerCase();
    if (query && shown === "overview") show("pods"); else draw();
  });
  $("namespace").addEventListener("change", draw);
  $("theme").addEventListener("click", theme);
  $("close").addEventListener("click", () => $("details").close());
  $("details").addEventListener("close", closeLogs);
  document.addEventListener("keydown", keys);
  const wanted = location.hash.slice(1);
  show(TABS.includes(wanted) ? wanted : "overview");
  setInterval(draw, 5000); // ages
  fetch("/api/cluster", { headers }).then((answer) => (answer.ok ? answer.json() : { name: "localk8s" })).then((cluster) => {
    $("cluster").textContent = cluster.name;
    document.title = `${cluster.name} · localk8s`;
  });
  connect();
}

begin();
