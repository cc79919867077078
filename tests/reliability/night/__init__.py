"""A night: clients work while one part of the site after the other fails.

    python -m tests.reliability.night --clients=500

It prints the table of docs/reliability.md. `clients` are the clients, `site` is what they use,
and `faults` says what happens to it and which pages may fail then.
"""
