"""Receipts, lanes, strategy: from what a chart posted to what is booked, and why (specification ``signals``)."""
