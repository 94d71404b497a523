"""Admission over HTTPS: the server, its certificates, and the reviews of our kinds and of serving pods."""
