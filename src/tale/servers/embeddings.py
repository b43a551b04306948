"""`POST /v1/embeddings`: the static vectors by which tale's own memory compares texts.

They cost a fraction of a millisecond and no model, and are enough to find texts about the same
thing; they know no word order. The model's name is `tale-meaning`; no other is there, as the core
models only chat. Above: `openai_api`. Below: `memory.meaning`, which is read at the first call.
"""

from __future__ import annotations

import base64
import struct
from math import sqrt
from typing import Final, cast

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response

from tale.errors import InvalidRequest, UnknownModel
from tale.memory.meaning import Meaning, shipped
from tale.memory.word_pieces import pieces
from tale.servers.http_body import body_of, json_reply
from tale.servers.openai_shapes import object_of

__all__ = ["EMBEDDINGS_MODEL", "embed", "embeddings"]

EMBEDDINGS_MODEL: Final = "tale-meaning"
_MOST_TEXTS: Final = 2048  # OpenAI's limit
_MOST_COUNTED: Final = 512  # as many pieces of a text as its vector is made of


async def embeddings(request: Request) -> Response:
    """Answer one request."""
    body = await body_of(request)
    # In a thread: thousands of texts take seconds, and tokens of answers pass meanwhile.
    return json_reply(await to_thread.run_sync(embed, body))


def embed(body: bytes) -> dict[str, object]:
    """Give the vectors of the texts in a request, each of length 1, or 0 where no word is known.

    Raises:
        InvalidRequest: It isn't one; says which parameter is wrong.
        UnknownModel: It names another model.
    """
    fields = object_of(body)
    model = fields.get("model")
    if model != EMBEDDINGS_MODEL:
        raise UnknownModel(
            f"There are no embeddings of {model!r}.",
            hint=f"{EMBEDDINGS_MODEL} has some; the core models only chat.",
        )
    texts = _texts(fields.get("input"))
    encoding = fields.get("encoding_format") or "float"
    if encoding not in ("float", "base64"):
        raise InvalidRequest("encoding_format must be float or base64.", param="encoding_format")
    meaning = shipped()
    if fields.get("dimensions") not in (None, meaning.dimensions):
        raise InvalidRequest(f"dimensions must be {meaning.dimensions}.", param="dimensions")
    count = sum(len(pieces(text, meaning.vocabulary, _MOST_COUNTED)) for text in texts)
    data = [
        {"object": "embedding", "index": index, "embedding": _written(vector, encoding)}
        for index, vector in enumerate(_vector(meaning, text) for text in texts)
    ]
    usage = {"prompt_tokens": count, "total_tokens": count}
    return {"object": "list", "data": data, "model": EMBEDDINGS_MODEL, "usage": usage}


def _texts(found: object) -> list[str]:
    texts = cast("list[object]", found) if isinstance(found, list) else [found]
    if not texts or len(texts) > _MOST_TEXTS:
        raise InvalidRequest(f"input must have 1 to {_MOST_TEXTS} texts.", param="input")
    strings = [text for text in texts if isinstance(text, str) and text]
    if len(strings) < len(texts):
        raise InvalidRequest("input must be a text, or a list of them, not empty.", param="input")
    return strings


def _vector(meaning: Meaning, text: str) -> list[float]:
    packed = meaning.of(text)
    if packed is None:
        return [0.0] * meaning.dimensions
    signed = memoryview(packed).cast("b")
    length = sqrt(sum(each * each for each in signed))
    return [each / length for each in signed]


def _written(vector: list[float], encoding: str) -> list[float] | str:
    if encoding == "float":
        return vector
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
