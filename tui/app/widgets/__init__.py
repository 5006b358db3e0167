"""One widget a file. A widget draws what it is given; what is true, and what can be done, is the model's."""
