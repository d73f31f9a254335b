// The answers about messages by the names these views give them.
import type { DeadGroup, Proofs } from "../../api/types.ts";

export type { Channel, Channels, Deliveries, Delivery, Proof, Proofs } from "../../api/types.ts";
export type {
  fillbook__tracker__messages_model__DeadLetters as DeadLetters,
  fillbook__tracker__messages_model__Message as Message,
  fillbook__tracker__messages_model__Messages as Messages,
} from "../../api/types.ts";
export type Finding = Proofs["findings"][number];
export type Group = DeadGroup;
