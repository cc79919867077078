"""Socket.IO (protocol revision 5): namespaces, rooms, events and acks."""
