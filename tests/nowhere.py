"""Dependencies that nobody answers for, where a test is about something else."""

from typing import Final

from functions.kit.objects import S3Objects
from functions.kit.settings import Secret

# Port 1 is nobody's: whoever asks it gets Retry.
NO_OBJECTS: Final = S3Objects("http://127.0.0.1:1", "us-east-1", Secret("none"), Secret("none"), "none")
