"""Room mt5: Fillbook's copy of many MetaTrader 5 accounts, and what of it can be proved complete."""
