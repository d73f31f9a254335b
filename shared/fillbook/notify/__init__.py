"""Room notify: every execution told once on Discord, corrected when the ledger is corrected, and proven by reading back."""
