"""Server-side apply and field ownership: who owns which field, and what a write changes in that.

``managed`` is the door (``server_side_apply``, ``track_write``); ``fieldset`` is the algebra of owned fields, ``walk``
finds the fields of objects and of differences between them, ``merge`` and ``removal`` make the new object.
"""
