"""What happens around a model that sleeps: hold its requests, wake it, tell where the time went.

Used by the gateway of the standalone platform; imports no sibling package.
"""
