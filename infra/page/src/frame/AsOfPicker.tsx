// As of when: now, or a moment of the past in exchange time; the moment stands in the address.
import type { JSX } from "preact";
import { useRef, useState } from "preact/hooks";
import { chooseAsOf, useScope } from "../lib/books.ts";
import { clock, deskNow, exchangeInstant, localInput } from "../lib/time.ts";
import { Icon } from "../parts/Icon.tsx";
import { Popover } from "../parts/Popover.tsx";

export function AsOfPicker(): JSX.Element {
  const { asOf } = useScope();
  const field = useRef<HTMLInputElement>(null);
  const [error, setError] = useState<string | null>(null);
  const ts = asOf === null ? null : Date.parse(asOf);
  const words = ts === null ? "Now" : Number.isNaN(ts) ? "unreadable time" : clock(ts, { date: true, seconds: false });
  const submit = (event: Event): void => {
    event.preventDefault();
    const chosen = exchangeInstant(field.current?.value ?? "");
    if (chosen === null) return setError("Give a date and a time.");
    if (chosen > deskNow()) return setError("That moment has not come yet.");
    setError(null);
    chooseAsOf(new Date(chosen).toISOString());
  };
  return (
    <Popover class={`as-of${ts === null ? "" : " past"}`} label={`As of: ${words}`} button={<><Icon name="history" /><span class="picker-text">{words}</span><Icon name="down" /></>}>
      <form class="choices" onSubmit={submit} noValidate>
        <label for="as-of">As of <span class="hint">exchange time</span></label>
        <input id="as-of" ref={field} type="datetime-local" step={60} defaultValue={localInput(ts !== null && !Number.isNaN(ts) ? ts : deskNow())} aria-invalid={error !== null} aria-describedby="as-of-error" />
        <div id="as-of-error" class="field-error" role="alert">{error}</div>
        <div class="row">
          <button type="submit" class="button primary">Show</button>
          <button type="button" class="button" disabled={asOf === null} onClick={() => chooseAsOf(null)}>Back to now</button>
        </div>
      </form>
    </Popover>
  );
}
