"""Tests of the operator's pages, and of signing in as another user."""
