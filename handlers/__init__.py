"""Pages and sockets: one module per subject, listed here. Your own are listed in `local.py`.

A fork writes `handlers/local.py`, which this repository never has:

    modules = ("chat",)  # yours; their routes and templates come before those below
    without = ("counter",)  # those below that you leave out

`docs/fork.md` describes what a module may offer.
"""

modules = (
    "counter",
    "sign_in",
    "reauthenticate",
    "signed_in",
    "account",
    "password_strength",
    "admin",
    "recovery",
    "health",
)
