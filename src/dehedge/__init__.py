"""Protects the DePerp insurance vault with offsetting positions on a futures exchange."""

__version__ = "0.1.0"
