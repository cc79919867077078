"""Where a user is signed in."""
