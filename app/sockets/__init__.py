"""A socket: base class of namespaces, handshake, and which connections belong to which session."""
