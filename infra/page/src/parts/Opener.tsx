// The button in a row's heading that opens what stands below the row.
import type { ComponentChildren, JSX } from "preact";
import { Icon } from "./Icon.tsx";

interface Props {
  isOpen: boolean;
  turn: () => void;
  children: ComponentChildren;
}

export function Opener({ isOpen, turn, children }: Props): JSX.Element {
  return (
    <button type="button" class="opener" aria-expanded={isOpen} onClick={turn}>
      <Icon name={isOpen ? "down" : "right"} /><span>{children}</span>
    </button>
  );
}
