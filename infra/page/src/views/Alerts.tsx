// Alerts: whether every execution was told, as which message, and what a person should do about those that were not.

import "./alerts.css";
import { Section, Tabs, navigate, useRoute, useScopes } from "./kit";
import { Channels } from "./alerts/Channels";
import { Checks } from "./alerts/Checks";
import { Dead } from "./alerts/Dead";
import { Deliveries } from "./alerts/Deliveries";

const TABS = [["log", "Delivery log"], ["dead", "Dead letters"], ["checks", "Checks"]] as const;

export default function Alerts() {
  const { params } = useRoute();
  const { isAdmin } = useScopes();
  const tab = TABS.find(([name]) => name === params.tab)?.[0] ?? "log";
  const go = (more: Record<string, string | null>) => navigate("alerts", { ...params, ...more }, { replace: true });
  return (
    <>
      <Section id="channels" title="Channels"><Channels /></Section>
      <Section id="messages" title="Messages">
        <Tabs label="What of the messages" tabs={TABS} chosen={tab} onChoose={(name) => go({ tab: name })}>
          {tab === "log" && <Deliveries params={params} onFilter={go} />}
          {tab === "dead" && <Dead />}
          {tab === "checks" && <Checks isAdmin={isAdmin} chosen={params.run ?? null} onChoose={(run) => go({ run })} />}
        </Tabs>
      </Section>
    </>
  );
}
