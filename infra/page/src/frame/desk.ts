// What the frame knows of the desk: whose key this is, which books there are, the desk's clock and its session.
import { useEffect } from "preact/hooks";
import { CALM_SECONDS, usePolled, type Polled } from "../lib/poll.ts";
import { store, useStore } from "../lib/store.ts";
import { setDeskTime } from "../lib/time.ts";

export interface MarketSession {
  date: string;
  open_ts: number;
  close_ts: number;
}

export interface SessionAnswer {
  as_of_ts: number;
  key: { id: string; scopes: string[] };
  books: { book_id: string; name?: string }[];
  session: { phase: string; today: MarketSession | null; next: MarketSession | null; last: MarketSession | null };
  clock: { is_simulated: boolean };
}

const known = store<SessionAnswer | null>(null);

// Asked by the frame alone; all others read it with `useDesk`.
export function useDeskPolling(): Polled<SessionAnswer> {
  const polled = usePolled<SessionAnswer>("/timed/session", {}, CALM_SECONDS);
  const { data, fetchedAt } = polled;
  useEffect(() => {
    if (data === null) return;
    known.set(data);
    setDeskTime(data.as_of_ts);
  }, [data, fetchedAt]);
  return polled;
}

export function useDesk(): SessionAnswer | null {
  return useStore(known);
}

// Whether the key may change anything; without one the controls for it are not there at all.
export function useIsAdmin(): boolean {
  return useStore(known)?.key.scopes.includes("admin") ?? false;
}
