"""How the packer works inside; `orbit_core.sched.packing` is the surface.

Nothing else imports from here, but for the benchmark, which prints what the guide thinks possible.
"""
