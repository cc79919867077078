"""Engine.IO (protocol revision 4): connections on polling and WebSocket, and their limits.

It carries messages and knows nothing of what they mean. Beside itself it may import
app.transport.http, app.transport's own files and app.common.
"""
