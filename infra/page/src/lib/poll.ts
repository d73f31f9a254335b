// Live data: each visible view asks for what it shows again and again, rests while hidden or paused, and backs off from trouble.
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { api, ApiError, type Query } from "../api/client.ts";
import { onKeyChange } from "../api/session.ts";
import { href } from "./router.tsx";
import { shared } from "./sharing.ts";
import { store, useStore } from "./store.ts";
import { waitMs } from "./waiting.ts";

export type PollState = "loading" | "ready" | "stale" | "offline" | "error";

export interface Polled<T> {
  data: T | null; // the last good answer, also while a newer one fails
  error: ApiError | null;
  state: PollState; // stale: shown data are of an answer before the failure
  refresh: () => void;
}

export const LIVE_SECONDS = 10; // lanes, positions, today
export const CALM_SECONDS = 30; // all others

const LAST_GOOD_MAX = 60;

// One request that some part of the screen repeats, as the data line tells of it.
export interface Watch {
  address: string;
  state: PollState;
  error: ApiError | null;
  fetchedAt: number | null;
  dataAsOf: number | null; // epoch milliseconds of the desk
  nextAt: number | null; // epoch milliseconds of this machine
}

interface Good {
  data: unknown;
  body: unknown; // what `data` was made of: the door gives it again while the desk says that nothing changed
  fetchedAt: number; // epoch milliseconds of this machine, when it was last confirmed
}

const lastGood = new Map<string, Good>();
const refreshers = new Set<() => void>();
const watched = store<readonly Watch[]>([]);
const paused = store<boolean>(false);

onKeyChange(() => lastGood.clear());

export function useWatched(): readonly Watch[] {
  return useStore(watched);
}

export const pause = {
  isOn: (): boolean => paused.get(),
  toggle: (): void => paused.set(!paused.get()),
};

export function usePaused(): boolean {
  return useStore(paused);
}

// Ask for everything on the screen at once.
export function refreshAll(): void {
  for (const one of [...refreshers]) one();
}

function dataAsOf(data: unknown): number | null {
  const ts = (data as { data_as_of_ts?: unknown } | null)?.data_as_of_ts;
  return typeof ts === "number" ? ts : null;
}

function remember(address: string, body: unknown): unknown {
  const before = lastGood.get(address);
  const same = before !== undefined && before.body === body ? before.data : shared(before?.data, body);
  lastGood.delete(address);
  lastGood.set(address, { data: same, body, fetchedAt: Date.now() });
  for (const oldest of lastGood.keys()) {
    if (lastGood.size <= LAST_GOOD_MAX) break;
    lastGood.delete(oldest);
  }
  return same;
}

interface Snapshot {
  address: string;
  data: unknown;
  error: ApiError | null;
  fetchedAt: number | null;
}

function begin(address: string): Snapshot {
  const good = lastGood.get(address);
  return { address, data: good?.data ?? null, error: null, fetchedAt: good?.fetchedAt ?? null };
}

function stateOf({ data, error }: Snapshot): PollState {
  if (error === null) return data === null ? "loading" : "ready";
  if (error.status === 0) return "offline";
  return data === null ? "error" : "stale";
}

function tell(now: Snapshot, nextAt: number | null): void {
  const one: Watch = { ...now, state: stateOf(now), dataAsOf: dataAsOf(now.data), nextAt };
  watched.set([...watched.get().filter(({ address }) => address !== now.address), one]);
}

function untell(address: string): void {
  watched.set(watched.get().filter((one) => one.address !== address));
}

interface Asked {
  path: string;
  params: Query;
  seconds: number;
  told: (now: Snapshot) => void; // of every change: an answer that changes nothing draws nothing
  heard: ((data: unknown) => void) | undefined; // of every good answer, equal ones too
}

// Repeat one GET until stopped. Returns how to stop and how to ask at once.
function repeat({ path, params, seconds, told, heard }: Asked): { stop: () => void; ask: () => void } {
  const address = href(path, params);
  let now = begin(address);
  let timer = 0;
  let failures = 0;
  let asking: AbortController | null = null;
  let nextAt: number | null = null;
  let isStopped = false;

  const rests = (): boolean => document.hidden || paused.get();

  const schedule = (ms: number): void => {
    clearTimeout(timer);
    nextAt = rests() ? null : Date.now() + ms;
    if (nextAt !== null) timer = window.setTimeout(ask, ms);
    tell(now, nextAt);
  };

  const set = (change: Partial<Snapshot>): void => {
    const before = now;
    now = { ...now, ...change };
    if (now.data !== before.data || now.error !== before.error) told(now);
  };

  const ask = (): void => {
    if (asking !== null || isStopped) return;
    clearTimeout(timer);
    const own = new AbortController();
    asking = own;
    void api
      .get<unknown>(path, params, { signal: own.signal })
      .then((data) => {
        if (isStopped) return;
        failures = 0;
        set({ data: remember(address, data), error: null, fetchedAt: Date.now() });
        heard?.(now.data);
        asking = null;
        schedule(waitMs(seconds, 0, null, Math.random()));
      })
      .catch((error: unknown) => {
        if (isStopped) return;
        failures += 1;
        const known = error instanceof ApiError ? error : new ApiError(0, "broken", String(error));
        set({ error: known });
        asking = null;
        if (known.status !== 401) schedule(waitMs(seconds, failures, known.retryAfter, Math.random()));
      });
  };

  // Back from hidden, paused or offline: what is due is asked for at once, what is fresh is left alone.
  const wake = (): void => {
    if (asking !== null) return;
    if (rests()) return schedule(0);
    const due = now.fetchedAt === null || now.error !== null ? 0 : now.fetchedAt + seconds * 1000 - Date.now();
    if (due <= 0) ask();
    else schedule(due);
  };

  const unwatch = paused.watch(wake);
  document.addEventListener("visibilitychange", wake);
  addEventListener("online", wake);
  refreshers.add(ask);
  tell(now, null);
  if (document.hidden && now.data !== null) schedule(0);
  else ask();

  return {
    ask,
    stop: () => {
      isStopped = true;
      asking?.abort();
      clearTimeout(timer);
      unwatch();
      document.removeEventListener("visibilitychange", wake);
      removeEventListener("online", wake);
      refreshers.delete(ask);
      untell(address);
    },
  };
}

// The answer to a GET, kept fresh while the caller is on the screen. `path` null asks for nothing.
export function usePolled<T>(path: string | null, params: Query = {}, seconds: number = CALM_SECONDS, heard?: (data: T) => void): Polled<T> {
  const address = path === null ? null : href(path, params);
  const [now, setNow] = useState<Snapshot | null>(() => (address === null ? null : begin(address)));
  const asker = useRef<(() => void) | null>(null);
  useEffect(() => {
    if (path === null || address === null) {
      setNow(null);
      return;
    }
    setNow((before) => (before?.address === address ? before : begin(address)));
    const { stop, ask } = repeat({ path, params, seconds, told: setNow, heard: heard as Asked["heard"] });
    asker.current = ask;
    return () => {
      asker.current = null;
      stop();
    };
  }, [address, seconds]);
  const refresh = useCallback(() => asker.current?.(), []);
  // the first rendering after the address changed must not show the answer of another question
  const shown = address === null ? null : now?.address === address ? now : begin(address);
  if (shown === null) return { data: null, error: null, state: "loading", refresh };
  return { data: shown.data as T | null, error: shown.error, state: stateOf(shown), refresh };
}
