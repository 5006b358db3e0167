"""What `step` does about each kind of event, one module for each kind of thing that an event is about.

A handler takes the state and its event, changes the state, and gives commands; `orbit_core.sched.step` has the table.
"""
