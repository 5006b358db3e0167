"""`python -m bench.inference`: this model server beside the other ways to run the same model on the same machine."""
