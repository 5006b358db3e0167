"""One module for each group of commands: arguments in, one client call or a few, and something to render out."""
