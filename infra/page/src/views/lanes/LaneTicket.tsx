// A ticker on the board: its price and day, where it came from and when, why it is here, and why it is not traded.
// The card is one stop of the keyboard; Enter opens its position, or its moves where it holds none.
import type { JSX, TargetedKeyboardEvent } from "preact";
import type { Card } from "../../api/types.ts";
import { Link, navigate } from "../../lib/router.tsx";
import { Age } from "../../parts/Age.tsx";
import { Badge } from "../../parts/Badge.tsx";
import { Pill } from "../../parts/Pill.tsx";
import { Price } from "../../parts/Price.tsx";
import { When } from "../../parts/When.tsx";
import { sentence } from "../../parts/words.ts";
import { DayChange } from "../DayChange.tsx";

interface Props {
  card: Card;
  isStop: boolean;
  isNew: boolean;
  onMoves: (card: Card) => void;
}

const ARROWS = { forward: "→", backward: "←" } as const;

export function LaneTicket({ card, isStop, isNew, onMoves }: Props): JSX.Element {
  const path = card.position_id === null ? null : `/app/positions/${card.position_id}`;
  const tabIndex = isStop ? 0 : -1;
  const open = (event: TargetedKeyboardEvent<HTMLLIElement>): void => {
    if (event.key !== "Enter" || event.target !== event.currentTarget) return;
    event.preventDefault();
    if (path === null) onMoves(card);
    else navigate(path);
  };
  return (
    <li class={isNew ? "ticket changed" : "ticket"} data-card={card.ticker} tabIndex={tabIndex} onKeyDown={open}>
      <p class="ticket-head">
        {path === null ? <strong class="ticket-name">{card.ticker}</strong> : <Link to={path} class="ticket-name" tabIndex={tabIndex}>{card.ticker}</Link>}
        {card.direction !== null && <Pill>{card.direction}</Pill>}
      </p>
      <p class="ticket-price">
        <Price value={card.price} decimals={2} />
        <DayChange percent={card.day_change_percent} />
      </p>
      <p class="ticket-age">
        {card.price_state === "missing" || card.price_ts === null ? <Badge tone="warning">no price</Badge> : <>price <Age ts={card.price_ts} /></>}
        {card.price_state === "stale" && <Badge tone="warning">stale</Badge>}
      </p>
      <p class="ticket-from">
        <From card={card} />
        {card.moved_ts !== null && <> · <When ts={card.moved_ts} seconds={false} /></>}
      </p>
      {card.badges.length > 0 && (
        <p class="ticket-badges">
          {card.badges.map((badge) => <Badge key={badge} tone={badge === "defend" ? "warning" : "info"}>{sentence(badge)}</Badge>)}
        </p>
      )}
      {card.reasons.map(({ code, text }) => <p key={code} class="ticket-reason">{text}</p>)}
      {card.block_reasons.length > 0 && <Blocks card={card} />}
      <button type="button" class="ticket-moves" tabIndex={tabIndex} onClick={() => onMoves(card)}>Moves<span class="visually-hidden"> of {card.ticker}</span></button>
    </li>
  );
}

function From({ card }: { card: Card }): JSX.Element {
  if (card.previous_stage === null) return <>new on the board</>;
  return (
    <>
      {card.moved !== null && <span class="ticket-way" title={card.moved} aria-hidden="true">{ARROWS[card.moved]} </span>}
      from {sentence(card.previous_stage)}
      {card.moved !== null && <span class="visually-hidden">, {card.moved}</span>}
    </>
  );
}

function Blocks({ card }: { card: Card }): JSX.Element {
  return (
    <div class="ticket-blocks">
      <p>{card.position_id === null ? "Why not entered" : "What waits"}</p>
      <ul>
        {card.block_reasons.map(({ code, text }, number) => <li key={`${code}/${number}`}>{text}</li>)}
      </ul>
    </div>
  );
}
