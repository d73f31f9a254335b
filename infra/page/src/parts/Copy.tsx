// A command to copy; where the browser keeps the clipboard to itself it is selected instead.
import type { JSX } from "preact";
import { useRef, useState } from "preact/hooks";

interface Props {
  text: string;
  label: string;
}

export function Copy({ text, label }: Props): JSX.Element {
  const code = useRef<HTMLElement>(null);
  const [said, setSaid] = useState("");
  const copy = async (): Promise<void> => {
    try {
      await navigator.clipboard.writeText(text);
      setSaid("Copied.");
    } catch {
      if (code.current !== null) getSelection()?.selectAllChildren(code.current);
      setSaid("Selected: copy it with the keyboard.");
    }
  };
  return (
    <div class="copy">
      <code class="mono" ref={code}>{text}</code>
      <button type="button" class="button small" onClick={() => void copy()}>{label}</button>
      <span role="status" class="hint">{said}</span>
    </div>
  );
}
