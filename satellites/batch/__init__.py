"""The steps of a batch (`orbit batch`): list the pages of a file, answer the requests of a page."""
