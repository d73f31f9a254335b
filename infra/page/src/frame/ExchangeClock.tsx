// The exchange's time with its zone, and what its session is doing.
import type { JSX } from "preact";
import { clock, dayWords, tip, useTick } from "../lib/time.ts";
import { Icon } from "../parts/Icon.tsx";
import type { Session } from "../api/types.ts";
import { useDesk } from "./desk.ts";

export interface Market {
  word: string; // "open", "closed", "pre-market"
  isOpen: boolean;
  detail: string; // "closes 16:00 EST"
}

// What the market is doing at a moment, from the sessions the desk names.
export function marketAt(now: number, desk: Session | null): Market {
  if (desk === null) return { word: "session unknown", isOpen: false, detail: "" };
  const { today, next, last } = desk.exchange;
  if (today !== null && now >= today.open_ts && now < today.close_ts) {
    return { word: "open", isOpen: true, detail: `closes ${clock(today.close_ts, { seconds: false })}` };
  }
  if (today !== null && now < today.open_ts) return { word: "pre-market", isOpen: false, detail: `opens ${clock(today.open_ts, { seconds: false })}` };
  const over = today ?? last;
  return { word: "market closed", isOpen: false, detail: `last session ${over.date}, opens ${dayWords(next.date, false)} ${clock(next.open_ts, { seconds: false })}` };
}

export function useMarket(): Market {
  const desk = useDesk();
  const text = useTick((now) => JSON.stringify(marketAt(now, desk)));
  return JSON.parse(text) as Market;
}

export function ExchangeClock(): JSX.Element {
  const desk = useDesk();
  const now = useTick((at) => Math.floor(at / 1000) * 1000);
  const { word, isOpen, detail } = useMarket();
  const isSimulated = desk?.is_simulated === true;
  return (
    <div class={`exchange-clock ${isOpen ? "open" : "closed"}`} title={`${detail === "" ? "" : `${detail} · `}${tip(now)}${isSimulated ? " · simulated clock" : ""}`}>
      <Icon name="clock" />
      <time class="num">{clock(now)}</time>
      <span class="session-word">{word}</span>
      {isSimulated && <span class="badge tone-info" title="The desk's clock shows another time than the wall.">simulated</span>}
    </div>
  );
}
