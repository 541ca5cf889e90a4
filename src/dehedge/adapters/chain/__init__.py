"""Reads DePerp's contracts: one complete snapshot at one block, from the first RPC endpoint that is well.

``source.ChainReader`` is the way in and implements ``dehedge.ports.ChainSource``; the daemon and ``dehedge check``
call it. Nothing here signs, sends or decides anything. This file imports nothing, because web3 takes a second to
import and ``endpoint`` alone needs it.
"""
