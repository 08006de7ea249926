"""Measures the responder as a person meets it, over HTTP, beside written replies; and prepares a blind reading of its replies.

    openings ─► servers ─► replies ─► counts ─► result file ─► table        prompts ─► servers ─► sheet, key ─► judged sheet ─► counts

No sentence of the data is written anywhere.
"""
