// The first Trade Tracker: seven requests, every ten seconds, shown as they come. The server's decimal texts are never turned
// into floating point numbers: they are cut for display, and their sign is read from the text.

const REFRESH_MS = 10_000;
const REFRESH_MS_MAX = 120_000;
let key = "";
let wait = REFRESH_MS;
let timer = 0;
let newest = 0;

const at = (id) => document.getElementById(id);

function make(tag, text, className) {
  const element = document.createElement(tag);
  if (text !== undefined && text !== null) element.textContent = text;
  if (className) element.className = className;
  return element;
}

// "1234567.8900" with 2 decimals -> "1,234,567.89"; cut, not rounded: the exact text is in the title
function amount(text, decimals = 2) {
  if (text === null || text === undefined) return "—";
  const [, sign, whole, fraction = ""] = /^(-?)(\d+)(?:\.(\d+))?$/.exec(text) ?? [];
  if (whole === undefined) return text;
  const tail = fraction.slice(0, decimals).padEnd(decimals === 2 ? 2 : 0, "0");
  return sign + whole.replace(/\B(?=(\d{3})+$)/g, ",") + (tail ? "." + tail : "");
}

function signed(text, currency) {
  const cell = make("span");
  if (text === null || text === undefined) return make("span", "—", "faint");
  const isZero = /^-?0*(\.0*)?$/.test(text);
  cell.className = isZero ? "flat" : text.startsWith("-") ? "loss" : "gain";
  cell.textContent = isZero ? "FLAT" : (text.startsWith("-") ? "" : "+") + amount(text) + (currency ? " " + currency : "");
  cell.title = text;
  return cell;
}

function clock(ms, withDate = false) {
  if (ms === null || ms === undefined) return "—";
  const options = { timeZone: "America/New_York", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23", timeZoneName: "short" };
  if (withDate) Object.assign(options, { year: "numeric", month: "2-digit", day: "2-digit" });
  return new Intl.DateTimeFormat("en-US", options).format(ms);
}

async function get(path) {
  const answer = await fetch(path, { headers: { Authorization: `Bearer ${key}` }, cache: "no-store" });
  if (answer.status === 401 || answer.status === 403) throw Object.assign(new Error("This key does not open the desk."), { isKey: true });
  const body = await answer.json();
  if (!answer.ok) throw new Error(`${body.error?.message ?? "The desk cannot answer"} (${body.error?.request_id ?? answer.status})`);
  return body;
}

function line(label, value) {
  const row = make("p");
  row.append(make("span", label), value instanceof Node ? value : make("span", value));
  return row;
}

function card(trade) {
  const item = make("li", undefined, `card ${trade.day_direction}`);
  const title = make("h3", trade.ticker);
  title.append(make("span", trade.direction, "pill"));
  const bar = make("progress");
  bar.max = 100;
  bar.value = Number(trade.trimmed_percent ?? 0);
  bar.setAttribute("aria-label", `${amount(trade.trimmed_percent)} % trimmed`);
  item.append(
    title,
    line("Unrealized", signed(trade.unrealized_pnl, trade.currency)),
    line("Realized", signed(trade.realized_pnl, trade.currency)),
    line("Quantity", amount(trade.total_qty, 4)),
    line("VWAP", amount(trade.entry_price, 4)),
    line("Price", trade.current_price === null ? "no price" : amount(trade.current_price) + (trade.price_state === "stale" ? " (stale)" : "")),
    line("Lane", trade.lane ?? "—"),
    line("Trimmed", `${amount(trade.trimmed_percent)} %`),
    bar,
  );
  return item;
}

function lane(entry, number) {
  const column = make("li", undefined, `lane-${number + 1}`);
  column.append(make("h3", `${entry.title} · ${entry.count}`));
  const list = make("ul");
  for (const one of entry.cards) {
    const item = make("li");
    const head = make("strong", one.ticker);
    head.append(make("span", amount(one.price)));
    item.append(head, make("span", (one.reasons[0]?.text ?? one.stage) + (one.badges.length ? ` · ${one.badges.join(", ")}` : ""), "faint"));
    list.append(item);
  }
  column.append(list);
  return column;
}

function execution({ trade, action }) {
  const row = make("tr");
  const cells = [clock(action.ts), trade.ticker, action.action_type, trade.direction];
  for (const text of cells) row.append(make("td", text));
  for (const text of [amount(action.qty, 4), amount(action.price), amount(action.value)]) row.append(make("td", text, "number"));
  const realized = make("td", undefined, "number");
  if (action.action_type === "TRIM" || action.action_type === "EXIT") realized.append(signed(action.pnl_realized));
  row.append(realized, make("td", action.reason_text ?? action.reason), make("td", action.message.state));
  return row;
}

function fact(label, value) {
  const box = make("div");
  box.append(make("dt", label), make("dd", value));
  return box;
}

function showHealth(health) {
  const ages = health.ages;
  at("health").replaceChildren(
    fact("Status", health.status),
    fact("Last receipt", clock(ages.last_receipt.ts)),
    fact("Last execution", clock(ages.last_execution.ts)),
    fact("Events waiting", String(health.outbox.depth)),
    fact("Messages waiting", String(health.messages.pending)),
    fact("Dead letters", String(health.messages.dead)),
    fact("Last audit", health.audit.state),
  );
}

const sum = (counts) => Object.values(counts).reduce((total, count) => total + count, 0);
const named = (counts) => Object.entries(counts).map(([name, count]) => `${name} ${count}`).join(", ");

function count(counts) {
  const cell = make("td", String(sum(counts)), sum(counts) ? "number late" : "number");
  cell.title = named(counts);
  return cell;
}

function source(account, one, isFirst) {
  const row = make("tr");
  const covered = one?.covered_from_ts ? `${clock(one.covered_from_ts, true)} – ${clock(one.covered_to_ts, true)}` : "—";
  row.append(
    make("td", isFirst ? account.code : ""),
    make("td", one ? `${one.source} ${one.kind}` : "—"),
    make("td", one ? one.state + (one.error_class ? ` (${one.error_class})` : "") : "never", one?.state === "ok" ? "" : "late"),
    make("td", one ? `${clock(one.started_ts, true)} · ${one.run_state}` : "—"),
    make("td", covered),
  );
  if (!isFirst) {
    const rest = make("td");
    rest.colSpan = 4;
    row.append(rest);
    return row;
  }
  const breaks = {};
  for (const found of account.breaks) breaks[`${found.kind}: ${found.cause}`] = found.count;
  const book = account.is_opening_missing ? make("td", "opening balance missing", "late") : make("td", "opened");
  row.append(count(account.anomalies), count(account.quarantine), count(breaks), book);
  return row;
}

const STATES = { needs_login: ["needs login", "loss"], failing: ["failing", "loss"], late: ["late", "late"], ok: ["ok", "gain"], paused: ["paused", "faint"] };
const RANK = Object.keys(STATES);

// how long ago, by the clock of the answer: the desk's may show another day than this machine's
function age(ts, now) {
  if (ts === null) return "never";
  const seconds = Math.max(0, Math.round((now - ts) / 1000));
  if (seconds < 90) return `${seconds} s ago`;
  if (seconds < 5_400) return `${Math.round(seconds / 60)} min ago`;
  return seconds < 172_800 ? `${Math.round(seconds / 3_600)} h ago` : `${Math.round(seconds / 86_400)} d ago`;
}

function labelled(label, content, className) {
  const cell = make("td", undefined, className);
  cell.setAttribute("role", "cell");
  cell.dataset.label = label;
  cell.append(content instanceof Node ? content : make("span", content));
  return cell;
}

function exact(text, currency) {
  const cell = make("span", text === null ? "—" : amount(text) + (currency ? " " + currency : ""));
  if (text !== null) cell.title = text;
  return cell;
}

function linkedAccount(account, now) {
  const row = make("tr");
  row.setAttribute("role", "row");
  const [word, tone] = STATES[account.state] ?? [account.state, "late"];
  const money = account.balances;
  const last = make("span", age(account.last_success_ts, now));
  last.title = clock(account.last_success_ts, true);
  const error = account.last_error;
  const pending = account.close_pending ? ` (${account.close_pending} closing)` : "";
  const history = account.backfill_state === "done" ? "" : ` · history ${amount(account.backfill_percent)} %`;
  const name = make("th", account.label);
  name.scope = "row";
  name.setAttribute("role", "rowheader");
  row.append(
    name,
    labelled("State", word + (account.failures_in_a_row ? ` · ${account.failures_in_a_row} in a row` : ""), tone),
    labelled("Balance", exact(money?.balance ?? null, money?.currency), "number"),
    labelled("Floating P&L", signed(money?.floating_profit, money?.currency), "number"),
    labelled("Last success", last, account.state === "ok" || account.state === "paused" ? "" : "late"),
    labelled("Open", String(account.open_positions) + pending, "number"),
    labelled("Closed today", String(account.closed_today), "number"),
    labelled("Cash", account.cash_state + history, account.cash_state === "gap" ? "late" : ""),
    labelled("Last error", error === null ? "—" : [error.class, error.text].filter(Boolean).join(": "), "words"),
  );
  return row;
}

function fleetLine(mt5, shown) {
  const counts = RANK.filter((state) => mt5.states[state]).map((state) => `${mt5.states[state]} ${STATES[state][0]}`);
  const share = mt5.fleet.fresh_percent === null ? [] : [`${amount(mt5.fleet.fresh_percent)} % of active accounts read within 10 minutes`];
  return [...counts, ...share, ...(shown < mt5.count ? [`the first ${shown} are listed`] : [])].join(" · ");
}

function showLinked(answer, mt5) {
  at("linked").hidden = mt5.count === 0;
  at("linked-count").textContent = `· ${mt5.count}`;
  at("linked-fleet").textContent = fleetLine(mt5, answer.items.length);
  const worstFirst = [...answer.items].sort((a, b) => RANK.indexOf(a.state) - RANK.indexOf(b.state) || (a.label < b.label ? -1 : 1));
  at("linked-rows").replaceChildren(...worstFirst.map((account) => linkedAccount(account, answer.as_of_ts)));
}

function showSync(sync, linked) {
  at("sync").hidden = sync.accounts.length + sync.mt5.count === 0;
  at("sync-sources").hidden = sync.accounts.length === 0;
  at("sync-count").textContent = `· ${sync.accounts.length + sync.mt5.count}`;
  showLinked(linked, sync.mt5);
  const rows = sync.accounts.flatMap((account) => (account.sources.length ? account.sources : [null]).map((one, number) => source(account, one, number === 0)));
  at("sync-rows").replaceChildren(...rows);
}

// display texts as they were published; the exact number is in the title, the reason where there is none
function showSnapshot({ snapshot, as_of_ts }) {
  at("snapshot").hidden = snapshot === null;
  if (snapshot === null) return;
  const end = snapshot.publication;
  const proof = end === null ? "published elsewhere" : end.status.replaceAll("_", " ") + (end.verified === false ? ", not verified" : "");
  const rows = Object.values(snapshot.counts).reduce((total, count) => total + count, 0);
  at("snapshot-line").textContent = `· ${snapshot.date} · ${snapshot.stage ?? "no stage"} · version ${snapshot.version}`;
  at("snapshot-proof").textContent = `${proof} ${age(snapshot.received_ts, as_of_ts)} · data of ${clock(snapshot.updated_ts, true)} · ${amount(String(rows), 0)} rows · SHA-256 ${snapshot.content_sha256.slice(0, 16)}…`;
  at("snapshot-proof").title = snapshot.content_sha256;
  at("snapshot-kpis").replaceChildren(...snapshot.kpis.map((one) => {
    const box = fact(one.kpi, one.value);
    box.title = one.value_num ?? (one.missing_reason ?? "not known").replaceAll("_", " ");
    if (one.value_num === null) box.lastChild.className = "faint";
    return box;
  }));
}

function show(trades, lanes, health) {
  const open = trades.trades.filter((trade) => trade.status === "OPEN");
  at("positions").replaceChildren(...open.map(card));
  at("positions-count").textContent = `· ${open.length}`;
  at("lanes").replaceChildren(...lanes.lanes.map(lane));
  const day = trades.trades.flatMap((trade) => trade.execution_actions.map((action) => ({ trade, action })));
  const dayStart = health.activity.day_start_ts;
  const today = day.filter(({ action }) => action.ts >= dayStart).sort((a, b) => b.action.ts - a.action.ts);
  at("executions").replaceChildren(...today.map(execution));
  at("executions-count").textContent = `· ${today.length} on ${health.activity.date}`;
  showHealth(health);
  newest = trades.data_as_of_ts;
  at("data-line").className = "";
  at("data-line").textContent = `Data as of ${clock(newest, true)}${health.clock.is_simulated ? " · simulated clock" : ""}`;
}

async function refresh() {
  clearTimeout(timer);
  if (!document.hidden && key) {
    try {
      const health = await get("/timed/health");
      const since = health.activity.day_start_ts;
      const [open, day, lanes, sync, linked, published] = await Promise.all([
        get("/timed/trades?status=open&include=lots,actions&limit=1000"),
        get(`/timed/trades?since=${since}&include=actions&limit=1000`),
        get("/timed/lanes"),
        get("/api/v1/sync/health"),
        get("/api/v1/accounts?platform=mt5&limit=500"),
        get("/timed/snapshot"),
      ]);
      const byId = new Map([...day.trades, ...open.trades].map((trade) => [trade.position_id, trade]));
      show({ ...open, trades: [...byId.values()] }, lanes, health);
      showSync(sync, linked);
      showSnapshot(published);
      wait = REFRESH_MS;
    } catch (error) {
      if (error.isKey) return logOut(error.message);
      wait = Math.min(wait * 2, REFRESH_MS_MAX);
      at("data-line").className = "late";
      at("data-line").textContent = `${error.message}. Shown data as of ${clock(newest, true)}.`;
    }
  }
  if (key) timer = setTimeout(refresh, wait);
}

function logOut(message = "") {
  key = "";
  clearTimeout(timer);
  at("desk").hidden = at("log-out").hidden = true;
  at("log-in").hidden = false;
  at("log-in-error").textContent = message;
  at("data-line").textContent = "";
}

at("log-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  key = at("key").value.trim();
  at("key").value = "";
  try {
    await get("/timed/health");
  } catch (error) {
    return logOut(error.message);
  }
  at("log-in").hidden = true;
  at("desk").hidden = at("log-out").hidden = false;
  at("log-in-error").textContent = "";
  refresh();
});
at("log-out").addEventListener("click", () => logOut());
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
logOut();
