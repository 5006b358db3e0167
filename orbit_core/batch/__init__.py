"""Batches: files of requests in OpenAI's batch format, worked through by an ordinary cluster.

    requests   what a request's body may say (chat completions, embeddings), and what is wrong with it otherwise
    lines      a file read line by line: each line an entry of a page, checked or with what is wrong with it
    pages      entries gathered into pages, and the manifest that lists them
    answers    what stands in the output and error files
    cluster    the preset cluster that a batch runs as

The client reads and checks the file and uploads pages, two satellites (`satellites/batch`) answer them; both use what
is here. Nothing here talks to a mesh, and nothing here holds more than one page of a file in memory.
"""
