"""Errors that a user of `empathetic-export` can cause; each prints as one line and exits non-zero."""


class ExportError(Exception):
    """Root of the expected failures; nothing has been written when it is raised."""


class CheckpointError(ExportError):
    """The checkpoint is unfinished, incomplete or inconsistent; the message names the file."""


class TextsError(ExportError):
    """The calibration or parity texts are missing or malformed; the message names the file."""


class ParityError(ExportError):
    """The exported model does not answer as the checkpoint does; the message gives the figure and its tolerance."""
