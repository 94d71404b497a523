"""The payload logger: requests and answers of a model, as CloudEvents to a URL or as objects in a store.

``settings`` reads the environment, ``logger`` is what the edge calls, ``sinks`` deliver.
"""
