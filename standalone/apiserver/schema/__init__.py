"""What objects may look like: structural schemas (``structural``), built-in kinds (``core``), OpenAPI (``openapi``).

Pure and synchronous; called by admission, the CRD handler, server-side apply and the OpenAPI endpoints.
"""
