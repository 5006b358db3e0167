"""A mesh in a terminal. `model` is what is known and what can be done, as plain data; `feed` asks the mesh;
`widgets` and `screens` draw the model and turn keys into calls. Nothing of the mesh's own logic belongs here."""
