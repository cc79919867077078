"""Socket.IO (protocol revision 5): namespaces, rooms, events and acks, with python-socketio's API.

It knows nothing of transports and frames. Beside itself it may import app.transport.engineio,
app.transport's own files and app.common.
"""
