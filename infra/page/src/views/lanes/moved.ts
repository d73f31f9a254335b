// Which tickers have changed their lane since the answer before; they wear an outline for two seconds.
import { useEffect, useRef, useState } from "preact/hooks";
import type { Lane } from "../../api/types.ts";

const SHOWN_MS = 2000;
const NOBODY: ReadonlySet<string> = new Set();

function lanesOf(lanes: readonly Lane[]): Map<string, string> {
  return new Map(lanes.flatMap(({ key, cards }) => cards.map(({ ticker }) => [ticker, key] as const)));
}

export function useMoved(lanes: readonly Lane[]): ReadonlySet<string> {
  const before = useRef<Map<string, string> | null>(null);
  const [moved, setMoved] = useState(NOBODY);
  useEffect(() => {
    const now = lanesOf(lanes);
    const then = before.current;
    before.current = now;
    if (then === null) return;
    const found = [...now].filter(([ticker, lane]) => (then.get(ticker) ?? lane) !== lane).map(([ticker]) => ticker);
    if (found.length === 0) return;
    setMoved(new Set(found));
    const timer = setTimeout(() => setMoved(NOBODY), SHOWN_MS);
    return () => clearTimeout(timer);
  }, [lanes]);
  return moved;
}
