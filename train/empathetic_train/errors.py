"""Errors that a user of `empathetic-train` can cause; each prints as one line and exits with its `status`. Knows no causes.

TrainError
├─ ConfigError      2  a recipe or flag
├─ DataError        2  a data file, or the Hub's copy
├─ CheckpointError  2  a checkpoint directory
├─ ResultsError     2  a results directory
└─ HubError         1  pushing the finished model
"""


class TrainError(Exception):
    """Root of the expected failures; the message is complete and safe to print."""

    status = 2


class ConfigError(TrainError):
    """A recipe or flag is wrong; the message names it."""


class DataError(TrainError):
    """A data file is missing or malformed; the message names the file and, where there is one, the line."""


class CheckpointError(TrainError):
    """A checkpoint directory is missing, unfinished or inconsistent; the message names the file."""


class ResultsError(TrainError):
    """A results directory is missing or incomplete; the message names the file."""


class HubError(TrainError):
    """The finished model could not be pushed; the message says where it lies."""

    status = 1
