"""Fuzzers of everything that clients send: heads, bodies, frames, packets, cookies, forms.

    tox run -e fuzz -- frames --seconds=600

`targets` says what must hold for any bytes. `corpus/NAME/` has the inputs that a fuzzer begins
with, and those that once caused faults; `test_fuzz.py` replays them without a fuzzer.
"""
