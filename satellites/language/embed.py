"""Texts as vectors, by any embedding model that the mesh knows."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from orbit_core.batch.answers import packed
from satellites.contract import Context, JsonObject
from satellites.language.texts import EncoderConfig, OverEncoder, TextsInput, count, cut, parts


class EmbedConfig(EncoderConfig):
    normalize: bool = Field(default=True, description="Vectors of length 1: their dot product is the cosine.")
    encoding: Literal["list", "base64"] = Field(
        default="list", description="`base64`: 32-bit floats, little-endian, a third of the size."
    )


class Embed(OverEncoder[EmbedConfig, TextsInput]):
    """Output: for `text` a `vector`; for `texts` `vectors`, in their order. Also `model` and `dimensions`, and
    `truncated: true` where a text was cut to fit the model."""

    name = "satellite/orbit/embed"
    aliases = ("satellite/exospherehost/embed",)
    summary = "Turns text into vectors"
    Config = EmbedConfig
    Input = TextsInput

    async def run(self, config: EmbedConfig, input: TextsInput, context: Context) -> list[JsonObject]:
        vectors: list[object] = []
        dimensions, truncated = 0, False
        for texts in parts(input.all):
            embedded = await context.models.embed(
                config.model, texts, normalize=config.normalize, context_overflow=config.context_overflow
            )
            count(context, embedded.input_tokens)
            dimensions = len(embedded[0])
            truncated = truncated or embedded.truncated
            vectors += [packed(vector) if config.encoding == "base64" else list(vector) for vector in embedded]
        facts = {"model": config.model, "dimensions": dimensions}
        given = {"vector": vectors[0]} if input.text is not None else {"vectors": vectors}
        return [cut(given | facts, truncated)]
