"""Questions about identity and permission: who am I, may I, whose token is this; and service account tokens.

Called by ``routes``. Everybody who has a valid token may do everything (the platform is one user's machine); RBAC
objects are stored and not evaluated, which docs/reference/parity.md says.

Invariant: a token is accepted exactly while its signature and expiry are good and its service account exists.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

import orjson

from standalone.apiserver import errors, handlers_body
from standalone.apiserver.handlers_context import Context
from standalone.apiserver.routes_target import Target
from standalone.apiserver.schema import failure
from standalone.apiserver.server_types import Request, Response, User, json_response
from standalone.apiserver.store_entries import Obj
from wakeful.core.api import instants

ADMIN = User("wakeful-admin", ("system:masters", "system:authenticated"))
ISSUER = "https://kubernetes.default.svc"
DEFAULT_TOKEN_S = 3600
MAX_TOKEN_S = 365 * 24 * 3600
REASON = "wakeful: every authenticated user may do everything on this machine"


def review(context: Context, target: Target, request: Request) -> Response:
    """POST of a review: its status filled in, nothing stored."""
    body = handlers_body.decode(request)
    if not isinstance(body, dict):
        raise errors.bad_request("the body must be a JSON object")
    kind = target.kind.kind
    answer: Obj = {**body, "apiVersion": target.kind.api_version, "kind": kind}
    answer["metadata"] = {"creationTimestamp": None}
    if kind == "SelfSubjectReview":
        answer["status"] = {"userInfo": request.user.info()}
    elif kind == "TokenReview":
        token = str((body.get("spec") or {}).get("token") or "")
        if not token:
            raise errors.bad_request("token is required for TokenReview in authentication")
        answer["status"] = _token_status(context, token)
    elif kind == "SelfSubjectRulesReview":
        if not (body.get("spec") or {}).get("namespace"):
            raise errors.bad_request("no namespace on request")
        every = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
        urls = {"verbs": ["*"], "nonResourceURLs": ["*"]}
        answer["status"] = {"resourceRules": [every], "nonResourceRules": [urls], "incomplete": False}
    else:
        _check_question(target, body.get("spec"))
        answer["status"] = {"allowed": True, "reason": REASON}
    return json_response(answer, 201)


def _check_question(target: Target, spec: Any) -> None:
    """An access review asks about a resource or about a path. Raises 422."""
    given = spec if isinstance(spec, dict) else {}
    asked = [name for name in ("resourceAttributes", "nonResourceAttributes") if given.get(name)]
    if len(asked) != 1:
        text = "Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified"
        cause = errors.Cause("spec.resourceAttributes", "FieldValueInvalid", text)
        raise errors.invalid(target.kind.kind, target.kind.group, "", [cause])
    namespace = (given.get("resourceAttributes") or {}).get("namespace")
    if target.kind.namespaced and namespace != target.namespace:
        text = f"Invalid value: {failure.shown(namespace)}: must match metadata.namespace"
        cause = errors.Cause("spec.resourceAttributes.namespace", "FieldValueInvalid", text)
        raise errors.invalid(target.kind.kind, target.kind.group, "", [cause])


def _token_status(context: Context, token: str) -> Obj:
    user = authenticate(context, token)
    if user is None:
        return {"user": {}, "error": "invalid bearer token"}
    return {"authenticated": True, "user": user.info()}


def authenticate(context: Context, token: str) -> User | None:
    """The user of a bearer token."""
    if hmac.compare_digest(token.encode(), context.credentials.token.encode()):
        return ADMIN
    claims = _verify(context.credentials.signing_key, token)
    if claims is None or claims.get("exp", 0) < context.now().timestamp():
        return None
    account = claims.get("kubernetes.io") or {}
    namespace, name = account.get("namespace", ""), (account.get("serviceaccount") or {}).get("name", "")
    entry = context.store.get("serviceaccounts", (namespace, name))
    if entry is None or entry.uid != (account.get("serviceaccount") or {}).get("uid"):
        return None
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
    return User(f"system:serviceaccount:{namespace}:{name}", groups, entry.uid)


def issue_token(context: Context, target: Target, request: Request) -> Response:
    """POST ``serviceaccounts/NAME/token``: a signed token that expires."""
    entry = context.store.get(target.kind.resource, target.key)
    if entry is None:
        raise target.not_found()
    body = handlers_body.decode(request) if request.body else {}
    spec: Any = (body.get("spec") if isinstance(body, dict) else None) or {}
    wanted = spec.get("expirationSeconds", DEFAULT_TOKEN_S)
    if not isinstance(wanted, int) or not wanted >= 600:
        cause = errors.Cause(
            "spec.expirationSeconds",
            "FieldValueInvalid",
            f"Invalid value: {wanted!s:.20}: may not specify a duration less than 10 minutes",
        )
        raise errors.invalid("TokenRequest", "authentication.k8s.io", "", [cause])
    _check_bound(context, target.namespace or "", spec.get("boundObjectRef"))
    issued = int(context.now().timestamp())
    expires = issued + min(wanted, MAX_TOKEN_S)
    namespace = target.namespace or ""
    audiences = spec.get("audiences") or [ISSUER]
    claims = {
        "aud": audiences,
        "exp": expires,
        "iat": issued,
        "iss": ISSUER,
        "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": target.name, "uid": entry.uid}},
        "sub": f"system:serviceaccount:{namespace}:{target.name}",
    }
    token = _sign(context.credentials.signing_key, claims)
    stamp = instants.render(instants.of_unix(expires))
    answer = {
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": {"name": target.name, "namespace": namespace},
    }
    spec_out = {
        "audiences": audiences,
        "expirationSeconds": expires - issued,
        "boundObjectRef": spec.get("boundObjectRef"),
    }
    return json_response(
        {**answer, "spec": spec_out, "status": {"token": token, "expirationTimestamp": stamp}}, 201
    )


_BOUND = {"Pod": "pods", "Secret": "secrets", "Node": "nodes"}


def _check_bound(context: Context, namespace: str, bound: Any) -> None:
    """The object a token is bound to has to be there. Raises 404."""
    if not isinstance(bound, dict) or bound.get("kind") not in _BOUND:
        return
    plural, name = _BOUND[bound["kind"]], str(bound.get("name") or "")
    if context.store.get(plural, ("" if plural == "nodes" else namespace, name)) is None:
        raise errors.not_found(plural, "", name)


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _sign(key: bytes, claims: Obj) -> str:
    """A JSON Web Token, HS256: only this server verifies it."""
    signed = _encode(b'{"alg":"HS256","typ":"JWT"}') + "." + _encode(orjson.dumps(claims))
    return signed + "." + _encode(hmac.new(key, signed.encode(), hashlib.sha256).digest())


def _verify(key: bytes, token: str) -> Obj | None:
    signed, _, signature = token.rpartition(".")
    expected = _encode(hmac.new(key, signed.encode(), hashlib.sha256).digest())
    if not signed or not hmac.compare_digest(signature.encode(), expected.encode()):
        return None
    try:
        body = signed.partition(".")[2]
        claims = orjson.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except ValueError:
        return None
    return claims if isinstance(claims, dict) else None
