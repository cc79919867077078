"""HTTP/1.1: the server, its connections, requests and responses, and Tornado's application on it.

`interface.py` says what another server would need; `states.py` has the states. It imports
app.common and the files beside this package.
"""

from app.transport.http.cookies import cookie_pairs
from app.transport.http.dispatcher import Dispatcher
from app.transport.http.exchange import Exchange, Handover
from app.transport.http.headers import Headers
from app.transport.http.server import HttpServer

__all__ = ["Dispatcher", "Exchange", "Handover", "Headers", "HttpServer", "cookie_pairs"]
