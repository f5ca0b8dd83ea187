"""Loaded by every Python that the tests start (notebook kernels too): no network there either."""

import guard

guard.install()
