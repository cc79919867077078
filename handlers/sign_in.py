"""Register, sign in and sign out."""

routes = []
