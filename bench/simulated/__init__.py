"""A cluster in virtual time: the same core, the same scenarios, one thread and one seed."""
