// The dashboard: polls this member's state, draws it, and browses keys with the caller's own rights.
// Text from the cluster only ever becomes text, never markup.

const POLL_MS = 1000;
const CHART_S = 60;
const KEYS_MAX = 500;
const EVENTS_MAX = 200;
const SVG = "http://www.w3.org/2000/svg";
const byId = (id) => document.getElementById(id);
const decoder = new TextDecoder("utf-8", { fatal: true });

let token = "";
let last = null;
let mode = "v3";
let chosen = null;
let watch = null;

function make(name, text, attributes = {}) {
  const element = document.createElement(name);
  if (text !== undefined) element.textContent = text;
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

function headers(extra = {}) {
  return token ? { ...extra, Authorization: token } : extra;
}

async function ask(path, options = {}) {
  const answer = await fetch(path, { ...options, headers: headers(options.headers) });
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    const error = new Error(body.message || body.error || `answered ${answer.status}`);
    error.status = answer.status;
    throw error;
  }
  return body;
}

const post = (path, data) => ask(path, { method: "POST", body: JSON.stringify(data) });

// --- bytes -----------------------------------------------------------------------------------

const toBase64 = (text) => btoa(String.fromCharCode(...new TextEncoder().encode(text)));

function fromBase64(text = "") {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  try {
    return decoder.decode(bytes);
  } catch {
    return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
  }
}

// The end of all keys that begin like this: the last byte below 0xff, raised by one.
function prefixEnd(prefix) {
  const bytes = [...new TextEncoder().encode(prefix)];
  while (bytes.length && bytes[bytes.length - 1] === 0xff) bytes.pop();
  if (!bytes.length) return toBase64("\0");
  bytes[bytes.length - 1] += 1;
  return btoa(String.fromCharCode(...bytes));
}

function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (bytes >= 1024 && unit < units.length - 1) { bytes /= 1024; unit += 1; }
  return `${unit ? bytes.toFixed(1) : bytes} ${units[unit]}`;
}

// --- state -----------------------------------------------------------------------------------

async function poll() {
  try {
    const state = await ask("/dashboard/state");
    byId("login").hidden = true;
    show(state);
    last = { at: performance.now(), state };
  } catch (error) {
    const mustLogIn = error.status === 401 || error.status === 403 || error.status === 400;
    byId("login").hidden = !mustLogIn;
    setHealth(mustLogIn ? "log in" : "no answer", "bad");
  }
  setTimeout(poll, POLL_MS);
}

function setHealth(text, kind) {
  byId("health").textContent = text;
  byId("health").className = `badge ${kind}`;
}

function show(state) {
  const leader = state.members.find((member) => member.id === state.leader);
  const troubled = state.alarms.length > 0;
  if (!leader) setHealth("no leader", "bad");
  else if (troubled) setHealth("alarm", "bad");
  else setHealth("healthy", "good");
  byId("name").textContent = state.name;
  byId("role").textContent = state.isLeader ? "leads" : leader ? `follows ${leader.name}` : "";
  showTiles(state);
  showMembers(state);
  showLatency(state, leader);
  const alarms = state.alarms.map((alarm) => make("li", `${alarm.type} raised for member ${alarm.member}`));
  byId("alarms").replaceChildren(...alarms);
}

function showTiles(state) {
  let rate = "–";
  if (last) {
    const seconds = (performance.now() - last.at) / 1000;
    rate = Math.max(0, Math.round((state.puts + state.deletes - last.state.puts - last.state.deletes) / seconds));
  }
  const share = state.usedBytes / state.quotaBytes;
  const rows = [
    ["revision", state.revision],
    ["changes per second", rate],
    ["proposals pending", state.pending],
    ["database", size(state.sizeBytes)],
    [`in use, of ${size(state.quotaBytes)}`, size(state.usedBytes), share > 0.8],
    ["keys", state.keys],
    ["watchers", state.watchers],
    ["leases", state.leases],
    ["log sync, mean", `${state.syncMs.toFixed(2)} ms`],
    ["Raft term", state.term],
  ];
  byId("tiles").replaceChildren(...rows.map(([text, value, warns]) => {
    const tile = make("div", undefined, { class: warns ? "tile warn" : "tile" });
    tile.append(make("b", String(value)), make("span", text));
    return tile;
  }));
}

function latest(samples) {
  return samples && samples.length ? `${samples[samples.length - 1][1].toFixed(2)} ms` : "";
}

function showMembers(state) {
  const rows = state.members.map((member) => {
    const row = make("tr");
    const role = member.id === state.leader ? "leader" : member.isLearner ? "learner" : "follower";
    const behind = member.match === undefined ? "" : String(Math.max(0, state.commit - member.match));
    const clients = make("td");
    member.clientURLs.forEach((url, position) => {
      if (position) clients.append(", ");
      clients.append(make("a", url, { href: `${url}/dashboard` }));
    });
    row.append(make("td", member.name || "(not started)"), make("td", member.id), make("td", role), clients,
      make("td", behind), make("td", latest(state.roundTrips[member.id])));
    return row;
  });
  byId("members").tBodies[0].replaceChildren(...rows);
}

function draw(name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

function showLatency(state, leader) {
  const note = byId("latency-note");
  if (!state.isLeader) {
    note.replaceChildren("Only the leader measures it. ");
    if (leader && leader.clientURLs.length) {
      note.append(make("a", `Open ${leader.name}`, { href: `${leader.clientURLs[0]}/dashboard` }));
    }
    byId("latency").replaceChildren();
    byId("legend").replaceChildren();
    return;
  }
  const followers = state.members.filter((member) => (state.roundTrips[member.id] || []).length);
  note.textContent = followers.length ? "From a heartbeat to its answer, the last minute." : "No follower has answered yet.";
  const all = followers.flatMap((member) => state.roundTrips[member.id].map((sample) => sample[1]));
  const top = niceTop(Math.max(0.1, ...all));
  const x = (at) => 70 + 700 * (1 - (state.now - at) / CHART_S);
  const y = (ms) => 195 - 180 * Math.min(1, ms / top);
  const parts = [];
  for (let step = 0; step <= 4; step += 1) {
    const ms = (top * step) / 4;
    parts.push(draw("line", { class: "grid", x1: 70, x2: 770, y1: y(ms), y2: y(ms) }));
    parts.push(draw("text", { x: 62, y: y(ms) + 4, "text-anchor": "end" }, `${+ms.toPrecision(3)} ms`));
  }
  for (let ago = CHART_S; ago >= 0; ago -= 15) {
    parts.push(draw("text", { x: x(state.now - ago), y: 214, "text-anchor": "middle" }, ago ? `−${ago} s` : "now"));
  }
  followers.forEach((member, position) => {
    const points = state.roundTrips[member.id].filter((sample) => state.now - sample[0] <= CHART_S);
    const path = points.map(([at, ms], i) => `${i ? "L" : "M"}${x(at).toFixed(1)} ${y(ms).toFixed(1)}`).join("");
    const line = draw("path", { d: path || "M0 0", "data-member": member.name });
    line.style.stroke = `var(--c${position % 6})`;
    parts.push(line);
  });
  byId("latency").replaceChildren(...parts);
  byId("legend").replaceChildren(...followers.map((member, position) => {
    const item = make("li");
    const dot = make("i");
    dot.style.background = `var(--c${position % 6})`;
    item.append(dot, `${member.name} ${latest(state.roundTrips[member.id])}`);
    return item;
  }));
}

function niceTop(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= value);
}

// --- keys ------------------------------------------------------------------------------------

function say(text, isError = false) {
  const note = byId("browser-note");
  note.textContent = text;
  note.className = isError ? "note error" : "note";
}

async function reload() {
  chosen = null;
  byId("detail").replaceChildren(make("p", "Choose a key.", { class: "note" }));
  try {
    await (mode === "v3" ? listV3() : listV2());
  } catch (error) {
    byId("keys").replaceChildren();
    say(error.message, true);
  }
}

async function listV3() {
  const prefix = byId("where").value;
  const answer = await post("/v3/kv/range", {
    key: prefix ? toBase64(prefix) : toBase64("\0"), range_end: prefixEnd(prefix),
    limit: KEYS_MAX, keys_only: true,
  });
  const keys = answer.kvs || [];
  showKeys(keys.map((kv) => [fromBase64(kv.key), () => chooseV3(kv.key)]));
  say(`${keys.length} of ${answer.count || 0} keys at revision ${answer.header.revision}`);
}

async function listV2() {
  const path = `/${byId("where").value}`.replace(/\/+/g, "/");
  const answer = await ask(`/v2/keys${encodeURI(path)}?sorted=true`);
  const nodes = answer.node.dir ? answer.node.nodes || [] : [answer.node];
  showKeys(nodes.map((node) => [node.dir ? `${node.key}/` : node.key, () => chooseV2(node)]));
  say(`${nodes.length} nodes`);
}

function showKeys(rows) {
  byId("keys").replaceChildren(...rows.map(([text, choose]) => {
    const item = make("li", text, { tabindex: "0" });
    const act = async () => {
      chosen?.classList.remove("chosen");
      chosen = item;
      item.classList.add("chosen");
      try { await choose(); } catch (error) { say(error.message, true); }
    };
    item.addEventListener("click", act);
    item.addEventListener("keydown", (event) => { if (event.key === "Enter") act(); });
    return item;
  }));
}

function showDetail(title, value, facts) {
  const list = make("dl");
  for (const [name, fact] of facts) list.append(make("dt", name), make("dd", String(fact)));
  byId("detail").replaceChildren(make("h3", title), make("pre", value), list);
}

async function chooseV3(key) {
  const answer = await post("/v3/kv/range", { key });
  const kv = (answer.kvs || [])[0];
  if (!kv) { say("the key was deleted meanwhile"); return; }
  showDetail(fromBase64(kv.key), fromBase64(kv.value), [
    ["created at", kv.create_revision], ["changed at", kv.mod_revision],
    ["version", kv.version], ["lease", kv.lease || "none"],
  ]);
}

async function chooseV2(node) {
  if (node.dir) {
    byId("where").value = node.key;
    await listV2();
    return;
  }
  const answer = await ask(`/v2/keys${encodeURI(node.key)}`);
  showDetail(answer.node.key, answer.node.value, [
    ["created at", answer.node.createdIndex], ["changed at", answer.node.modifiedIndex],
    ["time to live", answer.node.ttl ? `${answer.node.ttl} s` : "none"],
  ]);
}

// --- live ------------------------------------------------------------------------------------

function addEvent(text) {
  const list = byId("events");
  list.prepend(make("li", text));
  while (list.children.length > EVENTS_MAX) list.lastChild.remove();
}

function stopWatching() {
  watch?.abort();
  watch = null;
}

async function startWatching() {
  stopWatching();
  const own = new AbortController();
  watch = own;
  while (watch === own) {
    try {
      await (mode === "v3" ? watchV3(own.signal) : watchV2(own.signal));
    } catch (error) {
      if (own.signal.aborted) return;
      say(error.message, true);
    }
    await new Promise((done) => setTimeout(done, POLL_MS));
  }
}

async function watchV3(signal) {
  const prefix = byId("where").value;
  const request = { create_request: { key: prefix ? toBase64(prefix) : toBase64("\0"), range_end: prefixEnd(prefix) } };
  const answer = await fetch("/v3/watch", { method: "POST", body: JSON.stringify(request), headers: headers(), signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines.filter(Boolean)) takeV3(JSON.parse(line));
  }
}

function takeV3(message) {
  if (message.error) throw new Error(message.error.message);
  const result = message.result;
  if (result.canceled) throw new Error(result.cancel_reason || "the watch was cancelled");
  for (const event of result.events || []) {
    const verb = event.type === "DELETE" ? "deleted" : "put";
    addEvent(`${event.kv.mod_revision} ${verb} ${fromBase64(event.kv.key)} ${fromBase64(event.kv.value)}`);
  }
  if ((result.events || []).length) refreshList();
}

async function watchV2(signal) {
  const path = `/${byId("where").value}`.replace(/\/+/g, "/");
  const answer = await fetch(`/v2/keys${encodeURI(path)}?wait=true&recursive=true`, { headers: headers(), signal });
  const event = await answer.json();
  if (!answer.ok) throw new Error(event.message);
  addEvent(`${event.node.modifiedIndex} ${event.action} ${event.node.key} ${event.node.value ?? ""}`);
  refreshList();
}

let refreshing = false;
async function refreshList() {
  if (refreshing) return;
  refreshing = true;
  setTimeout(async () => {
    refreshing = false;
    try { await (mode === "v3" ? listV3() : listV2()); } catch (error) { say(error.message, true); }
  }, 200);
}

// --- controls --------------------------------------------------------------------------------

function choose(newMode) {
  mode = newMode;
  byId("tab-v3").setAttribute("aria-selected", String(mode === "v3"));
  byId("tab-v2").setAttribute("aria-selected", String(mode === "v2"));
  byId("where-label").textContent = mode === "v3" ? "Prefix" : "Directory";
  byId("where").value = mode === "v3" ? "" : "/";
  reload();
  if (byId("live").checked) startWatching();
}

byId("tab-v3").addEventListener("click", () => choose("v3"));
byId("tab-v2").addEventListener("click", () => choose("v2"));
byId("reload").addEventListener("click", reload);
byId("where").addEventListener("change", () => {
  reload();
  if (byId("live").checked) startWatching();
});
byId("live").addEventListener("change", (event) => (event.target.checked ? startWatching() : stopWatching()));
byId("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const isDark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = isDark ? "light" : "dark";
});
byId("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = new FormData(event.target);
  try {
    const answer = await post("/v3/auth/authenticate", { name: form.get("name"), password: form.get("password") });
    token = answer.token;
    event.target.reset();
    byId("login-error").textContent = "";
    reload();
  } catch (error) {
    byId("login-error").textContent = error.message;
  }
});

poll();
reload();
