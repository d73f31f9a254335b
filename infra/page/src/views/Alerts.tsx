// Alerts: whether every execution was told, as which message, and what a person does about those that were not.
import type { JSX } from "preact";
import { useIsAdmin } from "../frame/desk.ts";
import { useFilters } from "../lib/router.tsx";
import { Card } from "../parts/Card.tsx";
import { Tabs } from "../parts/Tabs.tsx";
import { Channels } from "./alerts/Channels.tsx";
import { Checks } from "./alerts/Checks.tsx";
import { Cost } from "./alerts/Cost.tsx";
import { Dead } from "./alerts/Dead.tsx";
import { Deliveries } from "./alerts/Deliveries.tsx";
import "./common.css";
import "./alerts.css";

const TABS = [
  { key: "log", title: "Delivery log" },
  { key: "dead", title: "Dead letters" },
  { key: "checks", title: "Checks" },
];

export default function Alerts(): JSX.Element {
  const [params, change] = useFilters();
  const isAdmin = useIsAdmin();
  const tab = TABS.find(({ key }) => key === params["tab"]) ?? TABS[0];
  return (
    <div class="stack">
      <Channels />
      <Card title="Messages" actions={<Tabs label="What of the messages" tabs={TABS} chosen={tab?.key ?? ""} choose={(key) => change({ tab: key })} panel="alerts-panel" />}>
        <div id="alerts-panel" role="tabpanel" aria-label={tab?.title}>
          {tab?.key === "log" && <Deliveries params={params} change={change} />}
          {tab?.key === "dead" && <Dead />}
          {tab?.key === "checks" && <Checks isAdmin={isAdmin} chosen={params["run"] ?? null} choose={(run) => change({ run })} />}
        </div>
      </Card>
      <Card title="What the desk costs" actions={<button type="button" class="button quiet small" aria-pressed={params["cost"] === "shown"} onClick={() => change({ cost: params["cost"] === "shown" ? null : "shown" })}>Show</button>}>
        {params["cost"] === "shown" && <Cost />}
      </Card>
    </div>
  );
}
