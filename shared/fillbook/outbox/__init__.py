"""Room outbox: events committed with their cause, relayed to Pub/Sub afterwards, received once by each consumer."""
