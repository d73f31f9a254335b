// A fresh answer takes over the objects of the one before wherever they are equal, so that only what changed is drawn again.

const KEYS = ["position_id", "action_id", "lot_id", "trade_id", "id", "key", "run_id", "message_id", "account_id", "date", "ticker"] as const;

type Row = Readonly<Record<string, unknown>>;

function isRow(value: unknown): value is Row {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

// What names a row among its neighbours; null when nothing does.
function nameOf(row: unknown): string | null {
  if (!isRow(row)) return null;
  for (const key of KEYS) {
    const value = row[key];
    if (typeof value === "string" || typeof value === "number") return `${key}=${value}`;
  }
  return null;
}

export function shared<T>(before: unknown, fresh: T): T {
  if (Object.is(before, fresh)) return fresh;
  if (Array.isArray(fresh)) return Array.isArray(before) ? (sharedList(before, fresh) as T) : fresh;
  if (!isRow(fresh) || !isRow(before)) return fresh;
  const found: Record<string, unknown> = {};
  let isSame = Object.keys(before).length === Object.keys(fresh).length;
  for (const [name, value] of Object.entries(fresh)) {
    found[name] = shared(before[name], value);
    isSame &&= name in before && Object.is(found[name], before[name]);
  }
  return (isSame ? before : found) as T;
}

function sharedList(before: readonly unknown[], fresh: readonly unknown[]): readonly unknown[] {
  const named = new Map<string, unknown>();
  for (const row of before) {
    const name = nameOf(row);
    if (name !== null) named.set(name, row);
  }
  const found = fresh.map((row, number) => {
    const name = nameOf(row);
    return shared(name === null ? before[number] : named.get(name), row);
  });
  return found.length === before.length && found.every((row, number) => Object.is(row, before[number])) ? before : found;
}
