"""Local stand-ins of what the daemon talks to: the chain, the price service and the exchange.

For the demo and the tests only: they speak the real protocols on 127.0.0.1. Nothing in the daemon imports this package.
"""
