"""Of which class is the object that a record holds?

Read off the first instructions of the pickle: nothing is executed or imported.
"""

from __future__ import annotations

import pickletools

from springtide.engine.references import plain

#: Of how many bytes the class is within, and of how many instructions.
_BYTES_MAX, _INSTRUCTIONS_MAX = 4096, 20


def class_of(data: bytes) -> str | None:
    """``"module.Class"``; None where that cannot be seen: in records that a wrapper transforms, for one."""
    texts: list[str] = []
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(plain(data)[:_BYTES_MAX])):
            if opcode.name == "GLOBAL":
                return str(argument).replace(" ", ".", 1)
            if isinstance(argument, str):
                texts.append(argument)
            if len(texts) == 2:  # later protocols, and old records of ZODB, name a class by its module and its name
                return ".".join(texts)
            if count >= _INSTRUCTIONS_MAX:
                break
    except Exception:  # any bytes at all may be no pickle in any way
        return None
    return None
