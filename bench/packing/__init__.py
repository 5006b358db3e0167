"""Packing a production GPU cluster: Orbit's packer beside published policies. `python -m bench.packing`."""
