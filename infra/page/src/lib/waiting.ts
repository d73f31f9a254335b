// When to ask again: around the usual time after a success, ever later after failures, never before we were told to.

export const WAIT_MAX_MS = 120_000;
const SPREAD = 0.1;

// `chance` 0 to 1 spreads many readers over ±10 %; `retryAfter` in seconds.
export function waitMs(seconds: number, failures: number, retryAfter: number | null, chance: number): number {
  const usual = seconds * 1000 * (1 - SPREAD + 2 * SPREAD * chance);
  const backedOff = Math.min(usual * 2 ** failures, WAIT_MAX_MS);
  return retryAfter === null ? backedOff : Math.max(backedOff, retryAfter * 1000);
}
