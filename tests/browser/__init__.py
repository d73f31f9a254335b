"""The page in Chromium, in front of a whole local desk; one desk and one browser for all journeys."""
