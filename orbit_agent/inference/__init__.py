"""The model server of an agent: requests of many runs, batched over models that are loaded once."""
