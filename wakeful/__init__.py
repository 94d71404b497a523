"""Wakeful: event-driven, serverless inference. This is the one package a user's own code imports."""

__version__ = "0.1.0"
