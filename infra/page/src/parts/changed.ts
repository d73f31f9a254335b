// A figure that changed wears an outline for two seconds; the first one it ever shows does not.
import { useEffect, useRef, useState } from "preact/hooks";

const SHOWN_MS = 2000;

export function useChanged(text: string): string {
  const before = useRef(text);
  const [isNew, setNew] = useState(false);
  useEffect(() => {
    if (before.current === text) return;
    before.current = text;
    setNew(true);
    const timer = setTimeout(() => setNew(false), SHOWN_MS);
    return () => clearTimeout(timer);
  }, [text]);
  return isNew ? " changed" : "";
}
