"""Engine.IO (protocol revision 4): connections on polling and WebSocket."""
