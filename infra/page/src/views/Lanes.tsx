// Kanban: every ticker in the lane the strategy put it in, with why it is there and why it is not traded.
// Wide screens show all lanes side by side, each with its own scroll; a phone shows one lane and a list of tabs.
import type { JSX, TargetedFocusEvent, TargetedKeyboardEvent } from "preact";
import { useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Card, Lane, Lanes as Answer } from "../api/types.ts";
import { useScope } from "../lib/books.ts";
import { LIVE_SECONDS, usePolled } from "../lib/poll.ts";
import { useFilters } from "../lib/router.tsx";
import { Empty } from "../parts/Empty.tsx";
import { Freshness } from "../parts/Freshness.tsx";
import { Loaded } from "../parts/Loaded.tsx";
import { Tabs } from "../parts/Tabs.tsx";
import { filtered, isCut, step } from "./lanes/board.ts";
import { LaneColumn } from "./lanes/LaneColumn.tsx";
import { LanesSkeleton } from "./lanes/LanesSkeleton.tsx";
import { Legend } from "./lanes/Legend.tsx";
import { Moves } from "./lanes/Moves.tsx";
import { useMoved } from "./lanes/moved.ts";
import { useIsNarrow } from "./narrow.ts";
import "./lanes.css";

const PANEL = "lane-panel";

export default function Lanes(): JSX.Element {
  const { books, asOf } = useScope();
  const query = useMemo(() => ({ books: books.join(",") }), [books]); // the board is known as it is, not as it was
  const [params, change] = useFilters();
  const filter = params["ticker"] ?? "";
  const board = usePolled<Answer>("/timed/lanes", query, LIVE_SECONDS);
  // a ticker beyond the newest cards of a lane is asked for by its name
  const isBeyond = filter.trim() !== "" && (board.data?.lanes.some(isCut) ?? false);
  const named = usePolled<Answer>(isBeyond ? "/timed/lanes" : null, { ...query, ticker: filter.trim().toUpperCase() }, LIVE_SECONDS);
  const [asked, setAsked] = useState<Card | null>(null);

  return (
    <div class="lanes-view">
      <div class="lanes-bar">
        <h1>Kanban</h1>
        <label class="field">
          <span>Ticker</span>
          <input type="search" data-filter autocomplete="off" spellcheck={false} placeholder="Any" value={filter} onInput={(event) => change({ ticker: event.currentTarget.value.toUpperCase() })} />
        </label>
        {board.data !== null && <Legend lanes={board.data.lanes} />}
      </div>
      {asOf !== null && <p class="notice">The board is shown as it is now; lanes of another moment stand in the moves of a card.</p>}
      <Loaded of={board} skeleton={<LanesSkeleton />}>
        {(answer) => (
          <>
            <Freshness ts={answer.data_as_of_ts} what="The board's receipts" />
            <Board lanes={merged(answer.lanes, named.data?.lanes)} filter={filter} chosen={params["lane"] ?? ""} choose={(lane) => change({ lane })} onMoves={setAsked} count={answer.count} />
          </>
        )}
      </Loaded>
      {asked !== null && <Moves ticker={asked.ticker} query={query} close={() => setAsked(null)} />}
    </div>
  );
}

// the lanes with the cards that a question by name found beside them
function merged(lanes: readonly Lane[], found: readonly Lane[] | undefined): readonly Lane[] {
  if (found === undefined) return lanes;
  return lanes.map((lane) => {
    const more = found.find(({ key }) => key === lane.key)?.cards ?? [];
    const known = new Set(lane.cards.map(({ ticker }) => ticker));
    return { ...lane, cards: [...lane.cards, ...more.filter(({ ticker }) => !known.has(ticker))] };
  });
}

interface BoardProps {
  lanes: readonly Lane[];
  filter: string;
  chosen: string;
  count: number;
  choose: (key: string) => void;
  onMoves: (card: Card) => void;
}

function Board({ lanes, filter, chosen, choose, count, onMoves }: BoardProps): JSX.Element {
  const isNarrow = useIsNarrow();
  const shown = useMemo(() => filtered(lanes, filter), [lanes, filter]);
  const moved = useMoved(lanes);
  const place = useRef<HTMLDivElement>(null);
  const [stops, setStops] = useState<Readonly<Record<string, string>>>({});
  const focused = useFocusKept(place);
  const isFiltered = filter.trim() !== "";
  const found = shown.reduce((sum, { cards }) => sum + cards.length, 0);
  const tab = shown.some(({ key }) => key === chosen) ? chosen : (shown.find(({ cards }) => cards.length > 0)?.key ?? shown[0]?.key ?? "");
  useLayoutEffect(() => {
    if (isNarrow) document.querySelector(".lanes-view [role=tab][aria-selected=true]")?.scrollIntoView({ block: "nearest", inline: "center" });
  }, [tab, isNarrow]);
  const visible = isNarrow ? shown.filter(({ key }) => key === tab) : shown;

  const move = (event: TargetedKeyboardEvent<HTMLDivElement>): void => {
    const ticket = event.target instanceof HTMLElement && event.target.hasAttribute("data-card") ? event.target : null;
    if (ticket === null || place.current === null) return;
    const columns = [...place.current.querySelectorAll(".lane")].map((lane) => [...lane.querySelectorAll<HTMLElement>("[data-card]")]);
    const lane = columns.findIndex((cards) => cards.includes(ticket));
    const to = step(columns.map(({ length }) => length), { lane, card: columns[lane]?.indexOf(ticket) ?? 0 }, event.key);
    const next = to === null ? undefined : columns[to.lane]?.[to.card];
    if (next === undefined) return;
    event.preventDefault();
    next.focus();
  };
  const entered = (event: TargetedFocusEvent<HTMLDivElement>): void => {
    const ticket = event.target instanceof Element ? event.target.closest<HTMLElement>("[data-card]") : null;
    const lane = ticket?.closest<HTMLElement>("[data-lane]")?.dataset["lane"];
    const ticker = ticket?.dataset["card"];
    focused.current = ticker ?? null;
    if (lane !== undefined && ticker !== undefined) setStops((before) => (before[lane] === ticker ? before : { ...before, [lane]: ticker }));
  };

  return (
    <>
      {count === 0 && <Empty title="No ticker is on the board yet">The first receipt of a ticker puts its card into a lane.</Empty>}
      {isFiltered && count > 0 && <p class="hint" role="status">{found === 0 ? `No ticker matches “${filter}”.` : `${found} of ${count} tickers match “${filter}”.`}</p>}
      {isNarrow && <Tabs label="Lanes" tabs={shown.map(({ key, title, count: all, cards }) => ({ key, title, count: isFiltered ? cards.length : all }))} chosen={tab} choose={choose} panel={PANEL} />}
      <div id={PANEL} class="board" ref={place} onKeyDown={move} onFocusIn={entered} {...(isNarrow ? { role: "tabpanel", "aria-label": visible[0]?.title } : {})}>
        {visible.map((lane) => (
          <LaneColumn key={lane.key} lane={lane} number={shown.indexOf(lane)} isFiltered={isFiltered} stop={stops[lane.key] ?? null} moved={moved} onMoves={onMoves} />
        ))}
      </div>
    </>
  );
}

// A card that moves to another lane is another element: focus follows its ticker there.
function useFocusKept(place: { current: HTMLElement | null }): { current: string | null } {
  const focused = useRef<string | null>(null);
  useLayoutEffect(() => {
    const ticker = focused.current;
    if (ticker === null) return;
    if (document.activeElement !== null && document.activeElement !== document.body) {
      if (place.current?.contains(document.activeElement) !== true) focused.current = null;
      return;
    }
    place.current?.querySelector<HTMLElement>(`[data-card="${CSS.escape(ticker)}"]`)?.focus({ preventScroll: true });
  });
  return focused;
}
