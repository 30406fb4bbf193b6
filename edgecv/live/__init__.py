"""A page that shows a running stream in a browser, and what machines ask of it.

It stands beside `edgecv.stream` rather than in it: it reads a pipeline from outside, and no stream
needs it. Everything is of the standard library and Pillow; nothing is loaded from elsewhere.
"""

from edgecv.live.address import Address
from edgecv.live.page import LivePage

__all__ = ["Address", "LivePage"]
