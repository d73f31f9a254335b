// Whether one lane fills the screen: below 768 px, as everywhere on the page.
import { useEffect, useState } from "preact/hooks";

const NARROW = matchMedia("(max-width: 767px)");

export function useIsNarrow(): boolean {
  const [isNarrow, setNarrow] = useState(NARROW.matches);
  useEffect(() => {
    const again = (): void => setNarrow(NARROW.matches);
    again();
    NARROW.addEventListener("change", again);
    return () => NARROW.removeEventListener("change", again);
  }, []);
  return isNarrow;
}
