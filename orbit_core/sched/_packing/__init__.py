"""How the packer works inside; `orbit_core.sched.packing` is the surface, and nothing else imports from here."""
