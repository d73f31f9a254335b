// The moves of one ticker from lane to lane, newest first: what moved it, which receipt said so, what stood in the way.
import type { JSX } from "preact";
import type { Move as Moved, Moves as Answer } from "../../api/types.ts";
import { usePolled } from "../../lib/poll.ts";
import { Empty } from "../../parts/Empty.tsx";
import { Loaded } from "../../parts/Loaded.tsx";
import { Sheet } from "../../parts/Sheet.tsx";
import { When } from "../../parts/When.tsx";
import { sentence } from "../../parts/words.ts";

interface Props {
  ticker: string;
  query: Readonly<Record<string, string>>;
  close: () => void;
}

export function Moves({ ticker, query, close }: Props): JSX.Element {
  const answer = usePolled<Answer>("/timed/lanes/history", { ...query, ticker });
  return (
    <Sheet title={`Moves of ${ticker}`} isOpen close={close}>
      <Loaded of={answer}>
        {({ moves, has_more }) => (
          <>
            {moves.length === 0 && <Empty title={`${ticker} has not moved`}>Each change of its lane would stand here with the receipt that caused it.</Empty>}
            <ol class="moves">{moves.map((move) => <Move key={`${move.book_id}/${move.seq}`} move={move} />)}</ol>
            {has_more && <p class="hint">Older moves are not shown.</p>}
          </>
        )}
      </Loaded>
    </Sheet>
  );
}

function Move({ move }: { move: Moved }): JSX.Element {
  return (
    <li>
      <p><strong>{move.from_stage === null ? sentence(move.stage) : `${sentence(move.from_stage)} → ${sentence(move.stage)}`}</strong></p>
      <p class="hint"><When ts={move.ts} date />{move.left_ts !== null && <> until <When ts={move.left_ts} date /></>}</p>
      <p class="ticket-reason">{move.reason.text}</p>
      {move.block_reasons.length > 0 && (
        <ul class="plain-list">{move.block_reasons.map(({ code, text }, number) => <li key={`${code}/${number}`}>{text}</li>)}</ul>
      )}
      <p class="hint">rule <span class="mono">{move.rule}</span>{move.rule_text !== move.rule && `: ${move.rule_text}`}</p>
      <p class="hint">receipt <span class="mono">{move.receipt_id}</span></p>
    </li>
  );
}
