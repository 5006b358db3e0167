"""The model store of an agent: where models come from, where they lie, and that they are what they say."""
