"""The parts of the page: looks, guard, the model in memory, the visitors' answers, what a person reads."""
