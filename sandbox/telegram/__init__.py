"""The Bot API as far as a bot uses it that alerts, shows pictures and answers: sending, editing, buttons, long polling.

Limits and error texts are those of the real server. `parse_mode` is not interpreted: the text is kept as it came.
"""

from sandbox.telegram.errors import ApiError
from sandbox.telegram.messages import Message, Written
from sandbox.telegram.presses import NoSuchButton
from sandbox.telegram.server import Telegram

__all__ = ["ApiError", "Message", "NoSuchButton", "Telegram", "Written"]
