"""Who answers: the name, the greeting and what must be disclosed. Pure."""

from __future__ import annotations

NAME = "Mira"
GREETING = "Hi, I'm Mira. It's good to meet you. What should I call you? You don't have to tell me, and you can start anywhere you like."
DISCLOSURE = (
    "You are talking with an AI. It can be wrong, it is not a therapist and not an emergency service. "
    "If you are in danger, call your local emergency number or find a crisis line at findahelpline.com."
)
# California SB 243 and New York GBL art. 47 ask for it at the start and every three hours.
DISCLOSURE_INTERVAL_S = 3 * 60 * 60
