"""The servers that Latchkey is measured against: one program each, started by `bench.process`."""
