"""Room ledger: the single source of truth. Every execution is booked here once, with its state and its event, or not at all."""
