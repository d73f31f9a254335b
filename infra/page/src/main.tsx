// The page's beginning: a key opens the frame, without one there is the log-in.
import { render, type JSX } from "preact";
import "./styles/tokens.css";
import "./styles/base.css";
import { useHeld } from "./api/session.ts";
import { Frame } from "./frame/Frame.tsx";
import { HOME, navigate } from "./lib/router.tsx";
import { LogIn } from "./views/LogIn.tsx";

function Page(): JSX.Element {
  const { key, why } = useHeld();
  return key === null ? <LogIn why={why} /> : <Frame />;
}

if (location.pathname === "/") navigate(HOME, {}, { replace: true });
const place = document.getElementById("app");
if (place !== null) render(<Page />, place);
