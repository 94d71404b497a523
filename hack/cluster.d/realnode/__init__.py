"""The working part of hack/cluster: builds, starts and removes a real one-node Kubernetes with Knative, for tests.

Run as `python -m realnode` with hack/cluster.d on the path. __main__ reads the command line; lifecycle holds the order
of things; build, images, archive and knative make what lies in the cache; box, components and pki make a node.
"""
