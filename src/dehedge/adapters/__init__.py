"""The edges: chain, prices, journal, web. Each knows the core and the ports, and none of the others."""
