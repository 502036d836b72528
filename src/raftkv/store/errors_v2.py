"""The numbered errors of the v2 API; clients look at ``errorCode``, people at the rest."""

from __future__ import annotations

from typing import Final

KEY_NOT_FOUND: Final = 100
COMPARE_FAILED: Final = 101
NOT_A_FILE: Final = 102
NOT_A_DIRECTORY: Final = 104
KEY_EXISTS: Final = 105
ROOT_READ_ONLY: Final = 107
DIRECTORY_NOT_EMPTY: Final = 108
PREVIOUS_VALUE_REQUIRED: Final = 201
TTL_NOT_A_NUMBER: Final = 202
INDEX_NOT_A_NUMBER: Final = 203
INVALID_FIELD: Final = 209
INVALID_FORM: Final = 210
REFRESH_VALUE: Final = 211
REFRESH_TTL_REQUIRED: Final = 212
RAFT_INTERNAL: Final = 300
LEADER_ELECT: Final = 301
WATCHER_CLEARED: Final = 400
EVENT_INDEX_CLEARED: Final = 401

MESSAGES: Final = {
    KEY_NOT_FOUND: "Key not found",
    COMPARE_FAILED: "Compare failed",
    NOT_A_FILE: "Not a file",
    NOT_A_DIRECTORY: "Not a directory",
    KEY_EXISTS: "Key already exists",
    ROOT_READ_ONLY: "Root is read only",
    DIRECTORY_NOT_EMPTY: "Directory not empty",
    PREVIOUS_VALUE_REQUIRED: "PrevValue is Required in POST form",
    TTL_NOT_A_NUMBER: "The given TTL in POST form is not a number",
    INDEX_NOT_A_NUMBER: "The given index in POST form is not a number",
    INVALID_FIELD: "Invalid field",
    INVALID_FORM: "Invalid POST form",
    REFRESH_VALUE: "Value provided on refresh",
    REFRESH_TTL_REQUIRED: "A TTL must be provided on refresh",
    RAFT_INTERNAL: "Raft Internal Error",
    LEADER_ELECT: "During Leader Election",
    WATCHER_CLEARED: "watcher is cleared due to etcd recovery",
    EVENT_INDEX_CLEARED: "The event in requested index is outdated and cleared",
}

HTTP_STATUS: Final = {
    KEY_NOT_FOUND: 404,
    NOT_A_FILE: 403,
    DIRECTORY_NOT_EMPTY: 403,
    COMPARE_FAILED: 412,
    KEY_EXISTS: 412,
    RAFT_INTERNAL: 500,
    LEADER_ELECT: 500,
}
"""All others are 400."""


class V2Error(Exception):
    """An answer of the v2 API that is an error; deterministic when the tree raised it."""

    def __init__(self, number: int, cause: str, index: int = 0) -> None:
        super().__init__(f"{MESSAGES[number]} ({cause})")
        self.number = number
        self.cause = cause
        self.index = index
