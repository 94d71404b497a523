"""Never gets beyond its start, as a server whose imports take long: no signal handler, no port."""

import time

time.sleep(600)
