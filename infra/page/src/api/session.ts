// The key: kept in memory, for this tab on demand, forgotten after twelve hours without use. Never in an address, a cookie or localStorage.
import { store, useStore } from "../lib/store.ts";

const NAME = "fillbook.key";
const IDLE_MS = 12 * 3_600_000;

export type Why = "none" | "refused" | "idle" | "left";

interface Held {
  key: string | null;
  why: Why; // why there is no key
}

interface Kept {
  key: string;
  used: number; // epoch milliseconds of this machine
}

function remembered(): Held {
  try {
    const kept = JSON.parse(sessionStorage.getItem(NAME) ?? "null") as Kept | null;
    if (kept === null) return { key: null, why: "none" };
    if (Date.now() - kept.used < IDLE_MS) return { key: kept.key, why: "none" };
    sessionStorage.removeItem(NAME);
    return { key: null, why: "idle" };
  } catch {
    return { key: null, why: "none" };
  }
}

const held = store<Held>(remembered());
let used = Date.now();

function isKept(): boolean {
  try {
    return sessionStorage.getItem(NAME) !== null;
  } catch {
    return false;
  }
}

function keep(key: string | null): void {
  try {
    if (key === null) sessionStorage.removeItem(NAME);
    else sessionStorage.setItem(NAME, JSON.stringify({ key, used } satisfies Kept));
  } catch {
    // nothing is kept: the key lives as long as the page
  }
}

// Polling is not use: only what the person does counts.
function touch(): void {
  const { key } = held.get();
  if (key === null || Date.now() - used < 60_000) return;
  used = Date.now();
  if (isKept()) keep(key);
}
for (const what of ["pointerdown", "keydown"]) addEventListener(what, touch, { passive: true, capture: true });
setInterval(() => {
  if (held.get().key !== null && Date.now() - used >= IDLE_MS) forget("idle");
}, 60_000);

export function key(): string | null {
  return held.get().key;
}

export function useHeld(): Held {
  return useStore(held);
}

export function open(text: string, forThisTab: boolean): void {
  used = Date.now();
  keep(forThisTab ? text : null);
  held.set({ key: text, why: "none" });
}

export function forget(why: Why): void {
  keep(null);
  held.set({ key: null, why });
}

// Told when the key changes or goes: answers given to another key are nobody's.
export function onKeyChange(listener: () => void): void {
  held.watch(listener);
}
