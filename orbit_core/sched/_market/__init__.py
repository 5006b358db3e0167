"""The parts of the market policy. Its public surface is `orbit_core.sched.market`; nobody else imports from here."""
