// The why-trace as the API answers it, and its facts as texts.
export type Fact = string | number | boolean | null | readonly Fact[] | { readonly [name: string]: Fact };
export type FactsOf = Readonly<Record<string, Fact>>;

export function factText(fact: Fact | undefined): string {
  if (fact === null || fact === undefined) return "";
  if (Array.isArray(fact)) return fact.map(factText).filter(Boolean).join(", ");
  if (typeof fact === "object") return Object.entries(fact).map(([name, value]) => `${name} ${factText(value)}`).join(", ");
  return String(fact);
}

// "compared": [rule, value, op, limit, holds]
export interface Compared {
  rule: string;
  value: string;
  op: string;
  limit: string;
  holds: boolean;
}

export function comparedOf(fact: Fact | undefined): Compared[] {
  if (!Array.isArray(fact)) return [];
  const rows = fact as readonly Fact[];
  return rows.flatMap((row) => {
    if (!Array.isArray(row)) return [];
    const [rule, value, op, limit, holds] = row as readonly Fact[];
    return [{ rule: factText(rule), value: factText(value) || "unknown", op: factText(op), limit: factText(limit), holds: holds === true }];
  });
}
