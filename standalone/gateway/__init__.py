"""One port in: host and tag routing, split, activator and queue of the platform on one machine.

A process of its own (``python -m standalone.gateway``): the data path never shares one with control loops. Requests
come in through ``h1_front`` or ``h2_front`` as an ``Exchange`` (``exchange``), ``engine`` takes each to its end:
``routing`` names the revision, ``fleet`` gives a pod (``activator_hooks.hold`` where it must wait), ``pods_pool`` a
connection to it, ``deadlines`` the three timeouts. ``reporter`` tells the autoscaler, ``admin`` tells people.
"""
