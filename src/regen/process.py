"""What a program of regen's own asks of its process. Its first import, before torch; the library imports it nowhere, as it would
change a host's.
"""

from __future__ import annotations

import gc
import os

# A thread that waits at OpenMP's barrier spins for milliseconds by default. On a machine with other work that takes away
# the core its partner needs: trainings ran ten times slower. It must be set before torch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

# The imports make hundreds of thousands of objects that stay. Looked through for garbage while they are made, they cost a short
# stage a fifth of its time.
gc.set_threshold(max(5000, gc.get_threshold()[0]), *gc.get_threshold()[1:])
