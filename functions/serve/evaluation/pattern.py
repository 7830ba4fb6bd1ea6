"""Whether a person's regex is found in a model's answer, in a process of its own: some take for ever on some texts."""

import asyncio
import sys
from typing import Final

# A regex that is not hopeless takes microseconds; the rest is the interpreter's start on a busy machine.
LIMIT_S: Final = 5.0
_PROGRAM: Final = "import re,sys; sys.exit(0 if re.search(sys.argv[1], sys.stdin.read()) else 3)"
_FOUND: Final = 0


async def found(pattern: str, text: str, limit_s: float = LIMIT_S) -> bool | None:
    """None when it takes longer than the limit. Whatever ends the wait, its cancellation too, ends the process."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-S", "-c", _PROGRAM, pattern, stdin=asyncio.subprocess.PIPE
    )
    try:
        await asyncio.wait_for(process.communicate(text.encode()), limit_s)
    except TimeoutError:
        return None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode == _FOUND
