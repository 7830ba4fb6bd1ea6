"""From a verified upload to its blob: the server copies, and no byte comes here. Resumable from what S3 holds.

Only for files whose digest nobody had promised, or whose bytes could not be hashed as they went: the others are uploaded
to their blob's key at once. On SeaweedFS such a copy costs about a third of the upload, on AWS next to nothing.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from functions.download import layout
from functions.download.layout import Span
from functions.download.problems import SourceChanged
from functions.kit.objects import CopySource, ObjectChanged, ObjectInfo, S3Objects

# Up to this, one CopyObject (S3 allows 5 GB): a second or three on a disk. Beyond, parts of this size.
PART_BYTES: Final = 256 * layout.MIB
# Copies of parts that the server makes side by side.
AT_ONCE: Final = 4


async def copy(  # noqa: PLR0913  # what a copy is
    objects: S3Objects, source: str, target: str, size: int, deadline: float, *, part_bytes: int = PART_BYTES
) -> bool:
    """Copy the object of `size` bytes; False when parts of it are left at `deadline` (monotonic). Raises SourceChanged."""
    held = await objects.head(source)
    if held is None or held.size != size:
        raise SourceChanged("S3 no longer holds the file that was verified")
    try:
        if size <= part_bytes:
            await objects.copy(target, CopySource(objects.bucket, source, held.etag, 0, size))
            return True
        return await _by_parts(objects, held, target, deadline, part_bytes)
    except ObjectChanged as error:
        raise SourceChanged("the verified file was changed in S3 before it was stored") from error


async def _by_parts(objects: S3Objects, held: ObjectInfo, target: str, deadline: float, part_bytes: int) -> bool:
    """An earlier slice's upload is found by its key: nobody but the blob's holder uploads there."""
    spans = layout.spans(held.size, layout.part_size(held.size, part_bytes))
    uploads = await objects.uploads(target)
    upload_id = uploads[0][1] if uploads else await objects.start_upload(target)
    sizes = {part.number: part.size for part in await objects.parts(target, upload_id)}
    todo = [span for span in spans if sizes.get(span.number) != span.size]
    for batch in _batches(todo):
        await asyncio.gather(*(_part(objects, held, target, upload_id, span) for span in batch))
        if batch[-1] is not todo[-1] and time.monotonic() >= deadline:
            return False
    await objects.complete_upload(target, upload_id, await objects.parts(target, upload_id))
    return True


async def _part(objects: S3Objects, held: ObjectInfo, target: str, upload_id: str, span: Span) -> None:
    await objects.copy_part(
        target, upload_id, span.number, CopySource(objects.bucket, held.key, held.etag, span.start, span.end)
    )


def _batches(spans: Sequence[Span]) -> list[Sequence[Span]]:
    return [spans[first : first + AT_ONCE] for first in range(0, len(spans), AT_ONCE)]
