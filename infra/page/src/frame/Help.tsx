// Help and about: the keyboard's short ways, how figures are shown, and whose work the charts are.
import type { JSX } from "preact";
import { Sheet } from "../parts/Sheet.tsx";
import { SHORTCUTS, useShortcuts } from "./keys.ts";

export function Help({ isOpen, close }: { isOpen: boolean; close: () => void }): JSX.Element {
  const [areOn, toggle] = useShortcuts();
  return (
    <Sheet title="Help and about" isOpen={isOpen} close={close}>
      <section class="help">
        <h3>Keyboard</h3>
        <label class="check"><input type="checkbox" checked={areOn} onChange={toggle} /> Single-key shortcuts</label>
        <dl class="shortcuts">
          {SHORTCUTS.map(([keys, what]) => (
            <div key={keys}><dt>{keys.split(" ").map((one) => <kbd key={one}>{one}</kbd>)}</dt><dd>{what}</dd></div>
          ))}
        </dl>
        <h3>Figures</h3>
        <p>Times are exchange time; tool tips have UTC and yours. A result of zero is FLAT; “—” is not known, and its tool tip says why. Privacy hides amounts, quantities and account labels.</p>
        <h3>About</h3>
        <p>Trade Tracker of Fillbook. Charts: TradingView Lightweight Charts™, Copyright © 2025 TradingView, Inc., <a href="https://www.tradingview.com/" target="_blank" rel="noopener noreferrer">tradingview.com</a>, licensed under the Apache License 2.0.</p>
      </section>
    </Sheet>
  );
}
