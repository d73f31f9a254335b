// A fresh answer takes over the objects of the one before wherever they are equal, so that only what changed is drawn again.

const KEYS = ["position_id", "action_id", "lot_id", "trade_id", "id", "key", "run_id", "message_id", "account_id", "date", "ticker"] as const;

type Row = Record<string, unknown>;

function isRow(value: unknown): value is Row {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

// What names a row among its neighbours; null when nothing does. A wrong guess costs time only: what is taken over is equal.
function nameOf(row: unknown): string | number | null {
  if (!isRow(row)) return null;
  for (const key of KEYS) {
    const value = row[key];
    if (typeof value === "string" || typeof value === "number") return value;
  }
  return null;
}

// The object from before when all is equal, else the fresh one, into which its equal parts from before are put.
export function shared<T>(before: unknown, fresh: T): T {
  if (Array.isArray(fresh)) return Array.isArray(before) ? (sharedList(before, fresh) as T) : fresh;
  return isRow(fresh) && isRow(before) ? (sharedRow(before, fresh) as T) : fresh;
}

function sharedRow(before: Row, fresh: Row): Row {
  let isSame = true;
  let fields = 0;
  for (const name in fresh) {
    fields += 1;
    const [then, now] = [before[name], fresh[name]];
    if (then === now) continue;
    fresh[name] = shared(then, now);
    isSame &&= fresh[name] === then;
  }
  return isSame && Object.keys(before).length === fields ? before : fresh;
}

function sharedList(before: readonly unknown[], fresh: unknown[]): readonly unknown[] {
  let named: Map<string | number | null, unknown> | null = null;
  let isSame = before.length === fresh.length;
  for (const [number, row] of fresh.entries()) {
    const name = nameOf(row);
    let then = before[number];
    if (name !== null && nameOf(then) !== name) then = (named ??= new Map(before.map((one) => [nameOf(one), one]))).get(name);
    fresh[number] = shared(then, row);
    isSame &&= fresh[number] === before[number];
  }
  return isSame ? before : fresh;
}
