"""The `orbit` command. `main` finds commands, `commands/` has one module for each group of them, `tables` and `live`
render, `session` connects, `exits` turns errors into messages and exit codes. What a mesh does is not known here."""
