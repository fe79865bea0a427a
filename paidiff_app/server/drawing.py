"""Between a request and the engine: what suits the model, the queue, the answer's pictures."""

import asyncio
import logging

from anyio import to_thread

from ..engine import Rejected
from ..infotext import infotext
from . import schemas


def suiting(width, height, guidance, engine):
    """((width, height), guidance) of a request, with what suits the model where it says nothing. Raises PaidiffError."""
    side, suits = engine.suits()
    size = (width or side, height or side)
    schemas.check_size(size, side)
    return size, suits if guidance is None else guidance


def embeddings_in(prompt, engine):
    """Names of the folder's embeddings whose word stands in the prompt: the WebUI's clients ask for one by writing it."""
    return tuple(name for name, word in engine.embeddings().items() if word and word in prompt)


async def draw(job, request):
    """Queue the job, wait for it, encode it: (PNG in base64, settings as text) of every picture."""
    engine = request.app.state.engine
    engine.submit(job)
    try:
        await _done_or_gone(job, request, engine)
    except Rejected:
        raise
    except Exception as error:
        logging.getLogger(__name__).exception("画不出来 · a batch failed")
        raise Rejected(500, "画的时候出错了,看服务的日志", "drawing failed, see the service's log") from error
    finally:
        engine.cancel(job)  # does nothing to a job that is done
    return await to_thread.run_sync(_encode, job)


async def _done_or_gone(job, request, engine):
    """Raises what the job ended with; a client that has gone away ends it."""
    done = asyncio.wrap_future(job.future)
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({done, gone}, return_when=asyncio.FIRST_COMPLETED)
        if gone.done():
            engine.cancel(job)
        await done
    finally:
        gone.cancel()


async def _gone(request):
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _encode(job):
    texts = [infotext(job.request, job.request.seed + index) for index in range(job.request.n)]
    return [schemas.encode_picture(image, text) for image, text in zip(job.images, texts)], texts
