"""What the desk costs: a local day as counted, priced from one list, for the desk as it is and for a fleet as it may become.

``model.py`` what is counted · ``prices.py`` the list · ``pricing.py`` counts and prices become a bill (pure) · ``days.py`` days
become a month (pure) · ``standing.py`` what a month costs anyway · ``fleet.py`` a fleet is measured · ``growth.py`` and grown
(pure) · ``kept.py`` the days a desk keeps · ``report.py`` tables · ``verb.py`` the door's verb. Nothing here is deployed, and
nothing asks a cloud what it charged.
"""
