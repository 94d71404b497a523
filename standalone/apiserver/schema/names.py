"""The shapes of names in Kubernetes objects: labels, subdomains, ports, variables, paths; why one is not acceptable.

Called by the checks of built-in kinds. Label keys and values are in ``selectors``. Every function returns why a text is
not such a name, in Kubernetes' words, or nothing. Invariant: pure and total on text.
"""

from __future__ import annotations

import re

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_SERVICE = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_PORT_CHARS = re.compile(r"[-a-z0-9]*")
_LABEL_RULE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
_SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_SERVICE_RULE = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and "
    "end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
    "'[a-z]([-a-z0-9]*[a-z0-9])?')"
)
_KEY_RULE = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or "
    "'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
)


def label_problem(name: str) -> str:
    """A DNS label, 63 characters at most."""
    if "." in name:
        return "must not contain dots"
    if len(name) > 63:
        return "must be no more than 63 characters"
    return "" if _LABEL.fullmatch(name) else _LABEL_RULE


def subdomain_problem(name: str) -> str:
    """A DNS subdomain, 253 characters at most."""
    if len(name) > 253:
        return "must be no more than 253 characters"
    return "" if _SUBDOMAIN.fullmatch(name) else _SUBDOMAIN_RULE


def service_problem(name: str) -> str:
    """A DNS label that starts with a letter."""
    if len(name) > 63:
        return "must be no more than 63 characters"
    return "" if _SERVICE.fullmatch(name) else _SERVICE_RULE


def config_key_problem(key: str) -> str:
    """A key of a ConfigMap or Secret: it may become a file name."""
    if len(key) > 253:
        return "must be no more than 253 characters"
    if key in (".", "..") or key.startswith(".."):
        return f"must not be '{key}'" if key in (".", "..") else "must not start with '..'"
    return "" if _KEY.fullmatch(key) else _KEY_RULE


def port_name_problems(name: str) -> list[str]:
    """All that is wrong with the name of a container's port (an IANA service name)."""
    found = []
    if len(name) > 15:
        found.append("must be no more than 15 characters")
    if not _PORT_CHARS.fullmatch(name):
        found.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not any("a" <= char <= "z" for char in name):
        found.append("must contain at least one letter (a-z)")
    if "--" in name:
        found.append("must not contain consecutive hyphens")
    if name[:1] == "-" or name[-1:] == "-":
        found.append("must not begin or end with a hyphen")
    return found


def variable_problem(name: str) -> str:
    """The name of an environment variable."""
    if name.isascii() and name.isprintable() and "=" not in name:
        return ""
    return "a valid environment variable name must consist only of printable ASCII characters other than '='"


def relative_path_problem(path: str) -> str:
    """A path that stays inside its volume."""
    if path.startswith("/"):
        return "must be a relative path"
    return "must not contain '..'" if ".." in path.split("/") else ""
