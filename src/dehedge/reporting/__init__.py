"""A journal's money as something to read: text, JSON, CSV, and one page with charts.

Reads a journal beside its daemon, never the daemon itself, and decides nothing. All sums are made in ``core.report``; here they
are only shown. Called by the commands.
"""
