"""The pure core: no IO, no clock, no asyncio, no logging. Data in, decisions out."""
