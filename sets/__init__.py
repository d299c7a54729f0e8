"""Many things, each done whole or not at all: what is done stays, what fails stops nobody else.

Goes in: items, and the work of one. Comes out: a folder for each that is done, with its result in it. Work
is shared out among the processes that `accelerate launch` starts; they share nothing but the folder. Knows
nothing of pictures, models and terminals.
"""
