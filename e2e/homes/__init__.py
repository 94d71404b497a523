"""The homes in which scenarios run: one machine, and a real cluster."""
