"""HTTP/1.1: the server, its connections, requests and responses."""
