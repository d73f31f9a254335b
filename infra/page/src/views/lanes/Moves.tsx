// The moves of one ticker from lane to lane, newest first: what moved it, which receipt said so, what stood in the way.
import type { JSX } from "preact";
import { usePolled } from "../../lib/poll.ts";
import { Empty } from "../../parts/Empty.tsx";
import { Loaded } from "../../parts/Loaded.tsx";
import { Sheet } from "../../parts/Sheet.tsx";
import { When } from "../../parts/When.tsx";
import { sentence } from "../../parts/words.ts";
import type { LaneMove, LaneMovesAnswer } from "./board.ts";

interface Props {
  ticker: string;
  query: Readonly<Record<string, string>>;
  close: () => void;
}

export function Moves({ ticker, query, close }: Props): JSX.Element {
  const answer = usePolled<LaneMovesAnswer>("/timed/lanes/history", { ...query, ticker });
  return (
    <Sheet title={`Moves of ${ticker}`} isOpen close={close}>
      <Loaded of={answer}>
        {({ moves, has_more }) => (
          <>
            {moves.length === 0 && <Empty title={`${ticker} has not moved`}>Each change of its lane would stand here with the receipt that caused it.</Empty>}
            <ol class="moves">{moves.map((move) => <Move key={`${move.ts}/${move.stage}`} move={move} />)}</ol>
            {has_more && <p class="hint">Older moves are not shown.</p>}
          </>
        )}
      </Loaded>
    </Sheet>
  );
}

function Move({ move }: { move: LaneMove }): JSX.Element {
  return (
    <li>
      <p><strong>{move.previous_stage === null ? sentence(move.stage) : `${sentence(move.previous_stage)} → ${sentence(move.stage)}`}</strong></p>
      <p class="hint"><When ts={move.ts} date /></p>
      {move.reasons.map(({ code, text }) => <p key={code} class="ticket-reason">{text}</p>)}
      {move.block_reasons.length > 0 && (
        <ul>{move.block_reasons.map(({ code, text }, number) => <li key={`${code}/${number}`}>{text}</li>)}</ul>
      )}
      <p class="hint">
        {move.rule !== null && <>rule <span class="mono">{move.rule}</span> · </>}
        receipt <span class="mono">{move.receipt_id ?? "unknown"}</span>
      </p>
    </li>
  );
}
