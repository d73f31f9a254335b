// Whose desk, which books, as of when, what time it is at the exchange; and what concerns the reader alone: theme, privacy, leaving.
import type { JSX } from "preact";
import { forget } from "../api/session.ts";
import { isReplay, useScope } from "../lib/books.ts";
import { privacy, usePrivacy } from "../lib/privacy.ts";
import { HOME, Link } from "../lib/router.tsx";
import { Icon } from "../parts/Icon.tsx";
import { AsOfPicker } from "./AsOfPicker.tsx";
import { BookPicker } from "./BookPicker.tsx";
import { ExchangeClock } from "./ExchangeClock.tsx";
import { useTheme } from "./theme.ts";

export function Header({ help }: { help: () => void }): JSX.Element {
  const { books } = useScope();
  const isHidden = usePrivacy();
  const [theme, turnTheme] = useTheme();
  return (
    <header class="header">
      <Link class="brand" to={HOME} aria-label="Trade Tracker, today">
        <svg class="brand-mark" viewBox="0 0 24 24" width="22" height="22" fill="none" stroke="currentColor" stroke-width="2.4" stroke-linecap="round" aria-hidden="true"><path d="M5 17V7M10 20v-8M15 15V4M20 19v-9" /></svg>
        <span class="brand-name">Trade Tracker</span>
      </Link>
      <BookPicker />
      {books.some(isReplay) && <span class="replay-label">REPLAY</span>}
      <AsOfPicker />
      <ExchangeClock />
      <div class="header-tools">
        <Tool label={`Theme: ${theme}`} icon={theme === "light" ? "sun" : theme === "dark" ? "moon" : "contrast"} act={turnTheme} />
        <Tool label="Privacy" icon={isHidden ? "hidden" : "eye"} act={privacy.toggle} pressed={isHidden} shortcut="p" />
        <Tool label="Help and about" icon="help" act={help} shortcut="?" />
        <Tool label="Log out" icon="leave" act={() => forget("left")} />
      </div>
    </header>
  );
}

interface ToolProps {
  label: string;
  icon: string;
  act: () => void;
  pressed?: boolean;
  shortcut?: string;
}

function Tool({ label, icon, act, pressed, shortcut }: ToolProps): JSX.Element {
  return (
    <button type="button" class="tool" title={label} aria-label={label} aria-pressed={pressed} aria-keyshortcuts={shortcut} onClick={act}>
      <Icon name={icon} />
    </button>
  );
}
