"""How the demonstration model is made: data, training, export and evaluation. Nothing that Orbit runs imports this."""
