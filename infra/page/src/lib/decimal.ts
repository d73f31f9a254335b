// Numbers of the API are decimal texts; they are shown, compared and added as texts. Nothing here is a floating point number.

export type Decimal = string;

interface Parts {
  digits: bigint; // the number without its point, signed
  scale: number; // how many of the digits stand behind the point
}

const FORM = /^(-?)(\d+)(?:\.(\d+))?$/;

export const MINUS = "−";
export const NONE = "—";

function parts(text: Decimal): Parts {
  const found = FORM.exec(text);
  if (found === null) throw new Error(`not a decimal: ${text}`);
  const [, sign = "", whole = "0", fraction = ""] = found;
  return { digits: BigInt(sign + whole + fraction), scale: fraction.length };
}

function plain({ digits, scale }: Parts): Decimal {
  const sign = digits < 0n ? "-" : "";
  const all = (digits < 0n ? -digits : digits).toString().padStart(scale + 1, "0");
  return sign + (scale === 0 ? all : `${all.slice(0, -scale)}.${all.slice(-scale)}`);
}

function raised(one: Parts, scale: number): bigint {
  return one.scale === scale ? one.digits : one.digits * 10n ** BigInt(scale - one.scale);
}

export function isDecimal(text: unknown): text is Decimal {
  return typeof text === "string" && FORM.test(text);
}

// -1, 0 or 1: what kind of number it is, read from its digits.
export function sign(text: Decimal): -1 | 0 | 1 {
  const { digits } = parts(text);
  return digits === 0n ? 0 : digits < 0n ? -1 : 1;
}

export function compare(left: Decimal, right: Decimal): -1 | 0 | 1 {
  const { digits, scale } = parts(right);
  const { digits: difference } = together(parts(left), { digits: -digits, scale });
  return difference === 0n ? 0 : difference < 0n ? -1 : 1;
}

// The lowest and the highest of some numbers; there must be one.
export function bounds(texts: readonly Decimal[]): [low: Decimal, high: Decimal] {
  const most = (way: 1 | -1): Decimal => texts.reduce((one, other) => (compare(other, one) * way > 0 ? other : one));
  return [most(-1), most(1)];
}

// Unknown values stand last, whichever way the known ones are sorted.
export function compareNullable(left: Decimal | null, right: Decimal | null, direction: 1 | -1 = 1): number {
  if (left === null || right === null) return left === right ? 0 : left === null ? 1 : -1;
  return compare(left, right) * direction;
}

function together(left: Parts, right: Parts): Parts {
  const scale = Math.max(left.scale, right.scale);
  return { digits: raised(left, scale) + raised(right, scale), scale };
}

export function add(left: Decimal, right: Decimal): Decimal {
  return plain(together(parts(left), parts(right)));
}

export function negated(text: Decimal): Decimal {
  const { digits, scale } = parts(text);
  return plain({ digits: -digits, scale });
}

export function subtract(left: Decimal, right: Decimal): Decimal {
  return add(left, negated(right));
}

export function absolute(text: Decimal): Decimal {
  return sign(text) < 0 ? negated(text) : text;
}

// The sum of the known ones; null when there is none.
export function total(texts: Iterable<Decimal | null>): Decimal | null {
  let sum: Parts | null = null;
  for (const text of texts) if (text !== null) sum = sum === null ? parts(text) : together(sum, parts(text));
  return sum === null ? null : plain(sum);
}

// To `decimals` places, halves to the even digit, as the desk's own edges round.
export function rounded(text: Decimal, decimals: number): Decimal {
  const one = parts(text);
  if (one.scale <= decimals) return plain({ digits: raised(one, decimals), scale: decimals });
  const unit = 10n ** BigInt(one.scale - decimals);
  const size = one.digits < 0n ? -one.digits : one.digits;
  const [whole, rest] = [size / unit, (size % unit) * 2n];
  const up = rest > unit || (rest === unit && whole % 2n === 1n) ? 1n : 0n;
  return plain({ digits: (whole + up) * (one.digits < 0n ? -1n : 1n), scale: decimals });
}

export interface Form {
  least?: number; // decimals that always stand
  most?: number; // decimals beyond which it is rounded
  signed?: boolean; // "+" before what is above zero
}

// "1234567.891" -> "1,234,567.89": grouped, rounded to `most`, filled to `least` decimals, with a true minus.
export function formatted(text: Decimal, { least = 0, most = 2, signed = false }: Form = {}): string {
  const exact = rounded(text, most);
  const [whole = "0", fraction = ""] = exact.replace("-", "").split(".");
  const tail = fraction.replace(/0+$/, "").padEnd(least, "0");
  const body = whole.replace(/\B(?=(\d{3})+$)/g, ",") + (tail === "" ? "" : `.${tail}`);
  const kind = sign(exact);
  return (kind < 0 ? MINUS : kind > 0 && signed ? "+" : "") + body;
}

const SYMBOLS: Readonly<Record<string, string>> = { USD: "$", EUR: "€", GBP: "£", JPY: "¥" };
const WORDS: Readonly<Record<string, string>> = { USD: "dollars", EUR: "euros", GBP: "pounds", JPY: "yen" };

// "-4.35", "USD" -> "−$4.35"; a currency without a sign of its own follows as its code.
export function money(text: Decimal, currency: string | null, form: Form = {}): string {
  const body = formatted(text, { least: 2, most: 2, ...form });
  const symbol = currency === null ? "" : SYMBOLS[currency];
  if (symbol === undefined) return `${body} ${currency}`;
  const lead = /^[+−]/.exec(body)?.[0] ?? "";
  return lead + symbol + body.slice(lead.length);
}

// For a screen reader: "minus 4.35 dollars".
export function spoken(text: Decimal, currency: string | null = null): string {
  const kind = sign(text);
  const word = kind < 0 ? "minus " : kind > 0 ? "plus " : "";
  const unit = currency === null ? "" : ` ${WORDS[currency] ?? currency}`;
  return word + formatted(absolute(text), { least: 2, most: 2 }).replaceAll(",", "") + unit;
}

// "72.30" -> "72.3 %"; the API gives points.
export function percent(text: Decimal, { least = 2, most = 2, signed = false }: Form = {}): string {
  return `${formatted(text, { least, most, signed })} %`;
}

// Only for what draws: charts and meters need a number of the machine.
export function toNumber(text: Decimal): number {
  return Number(text);
}
