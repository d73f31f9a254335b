// What the frame knows of the desk: whose key this is, which books there are, the desk's clock and the exchange's session.
import type { Session } from "../api/types.ts";
import { CALM_SECONDS, usePolled, type Polled } from "../lib/poll.ts";
import { store, useStore } from "../lib/store.ts";
import { setDeskTime } from "../lib/time.ts";

const known = store<Session | null>(null);

function heard(session: Session): void {
  setDeskTime(session.server_ts);
  known.set(session);
}

// Asked by the frame alone; all others read it with `useDesk`.
export function useDeskPolling(): Polled<Session> {
  return usePolled<Session>("/timed/session", {}, CALM_SECONDS, heard);
}

export function useDesk(): Session | null {
  return useStore(known);
}

// Whether the key may change anything; without one the controls for it are not there at all.
export function useIsAdmin(): boolean {
  return useStore(known)?.key.scopes.includes("admin") ?? false;
}
