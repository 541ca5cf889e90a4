"""The daemon's own decisions on recorded prices: what a hedge would have saved, and what it would have cost."""
